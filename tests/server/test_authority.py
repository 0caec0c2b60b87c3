"""Who is enrolled, and who is let in: by the federation's certificates, and by its records of this moment."""

import stat
from datetime import timedelta

import pytest

from sealora.client import enrolment
from sealora.privacy.audit_log import read_records
from sealora.protocol.certificates import new_tls_key
from sealora.protocol.enrolment import EnrolmentRequest
from sealora.protocol.errors import ProtocolError, RefusedError, UsageError
from sealora.server import authority
from sealora.server.authority import Gate
from sealora.server.federation_folder import FederationFolder


def refused(partners, request, match):
    with pytest.raises(RefusedError, match=match) as error:
        authority.enrol(partners.federation, request, timedelta(days=1), None, partners.now)
    assert "\n" not in str(error.value)


def shut(partners, certificate, now=None):
    with pytest.raises(ProtocolError) as error:
        Gate(partners.federation).admit(certificate.encode(), now or partners.now)
    return error.value.failure


def test_keys_are_the_owners(partners):
    folder = partners.federation
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.keys.iterdir()} == {0o600}
    assert {path.name for path in folder.keys.iterdir()} == {"authority.pem", "identity.pem", "tls.pem"}
    assert folder.credentials(None, partners.now).key.startswith(b"-----BEGIN PRIVATE KEY")
    assert FederationFolder.open(folder.path) == folder


@pytest.mark.parametrize(
    ("name", "address", "match"),
    [
        ("Stroke", "localhost:1", "cannot be a federation's name"),
        ("stroke", "localhost", "is no address. Write HOST:PORT"),
    ],
)
def test_a_federation_that_cannot_be_made(tmp_path, partners, name, address, match):
    with pytest.raises(UsageError, match=match):
        authority.create(tmp_path / "new", name, address, None, partners.now)
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_federation(tmp_path):
    with pytest.raises(UsageError, match="not the folder of a federation"):
        FederationFolder.open(tmp_path)


def test_an_enrolled_site_is_admitted(partners):
    ams = partners.site("ams")
    bundle = partners.enrol(ams, days=30)
    assert Gate(partners.federation).admit(bundle.certificate.encode(), partners.now) == "ams"
    assert shut(partners, bundle.certificate, partners.now + timedelta(days=31)) == "expired"
    kinds = [record.kind for record in read_records(partners.federation.audit_path)]
    assert kinds == ["federation made", "site enrolled"]


def test_a_false_request(partners):
    ams, ber = partners.request(partners.site("ams")), partners.request(partners.site("ber"))
    refused(partners, ams.model_copy(update={"name": "cph"}), "not that of the expected key")
    refused(partners, ams.model_copy(update={"tls_request": ber.tls_request}), "not that of the expected key")
    refused(partners, ams.model_copy(update={"signature": ber.signature}), "not that of the expected key")
    assert list(partners.federation.sites()) == []


def test_a_name_belongs_to_one_key_and_a_key_to_one_name(partners, tmp_path):
    ams = partners.member("ams")
    twin = enrolment.create(tmp_path / "twin", "ams", None)
    refused(partners, partners.request(twin), "enrolled with another identity key.*server revoke ams")
    renamed = EnrolmentRequest.make("ber", ams.identity(None), new_tls_key())
    refused(partners, renamed, "already enrolled as ams")


def test_the_coordinator_is_no_site(partners):
    request = EnrolmentRequest.make("ams", partners.federation.identity(None), new_tls_key())
    refused(partners, request, "is the coordinator's")


def test_a_renewed_certificate_is_admitted_too(partners):
    ams = partners.member("ams")
    enrolment.renew(ams, None)
    bundle = partners.enrol(ams)
    assert Gate(partners.federation).admit(bundle.certificate.encode(), partners.now) == "ams"


def test_a_revoked_site_is_shut_out_at_once_for_good_and_under_any_name(partners, tmp_path):
    ams = partners.site("ams")
    first = partners.enrol(ams)
    enrolment.renew(ams, None)
    second = partners.enrol(ams)
    gate = Gate(partners.federation)
    assert gate.admit(second.certificate.encode(), partners.now) == "ams"
    authority.revoke(partners.federation, "ams")
    for bundle in (first, second):
        assert shut(partners, bundle.certificate) == "revoked"
    refused(partners, partners.request(ams), "was revoked")
    renamed = EnrolmentRequest.make("ber", ams.identity(None), new_tls_key())
    refused(partners, renamed, r"was revoked \(as ams\)")
    # The name may come back, with keys of its own.
    fresh = enrolment.create(tmp_path / "fresh", "ams", None)
    bundle = partners.enrol(fresh)
    assert gate.admit(bundle.certificate.encode(), partners.now) == "ams"
    assert shut(partners, first.certificate) == "revoked"


@pytest.mark.parametrize("name", ["ber", "../ams", "ams\n"])
def test_a_site_that_is_not_enrolled_cannot_be_revoked(partners, name):
    partners.member("ams")
    with pytest.raises(UsageError, match="Enrolled: ams"):
        authority.revoke(partners.federation, name)


def test_a_certificate_of_a_record_that_is_gone(partners):
    bundle = partners.enrol(partners.site("ams"))
    (partners.federation.path / "sites" / "ams.json").unlink()
    assert shut(partners, bundle.certificate) == "stranger"


def test_a_certificate_of_another_federation(partners, tmp_path):
    ams = partners.site("ams")
    other = authority.create(tmp_path / "other", "stroke", "localhost:8443", None, partners.now)
    bundle = authority.enrol(other, partners.request(ams), timedelta(days=9), None, partners.now)
    assert shut(partners, bundle.certificate) == "untrusted"


def test_the_coordinators_certificate_is_renewed_and_may_move(partners):
    later = partners.now + timedelta(days=400)
    with pytest.raises(RefusedError, match="is valid from"):
        partners.federation.credentials(None, later)
    moved = authority.renew(partners.federation, "other.example.org:9443", None, later)
    assert moved.credentials(None, later)
    assert FederationFolder.open(partners.federation.path).card.address == "other.example.org:9443"
    assert moved.words == partners.federation.words, "sites know it again"


def test_a_damaged_record(partners):
    partners.member("ams")
    (partners.federation.path / "sites" / "ams.json").write_text("{}")
    with pytest.raises(UsageError, match=r"ams\.json is damaged"):
        list(partners.federation.sites())

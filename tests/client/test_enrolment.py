"""Joining: a bundle that is not this site's, of this federation, in date and untouched is refused."""

import os
import stat
import time
from datetime import timedelta

import pytest

from sealora.client import enrolment
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site_folder import SiteFolder
from sealora.plan.key_files import is_protected
from sealora.privacy.audit_log import read_records
from sealora.protocol.errors import RefusedError, UsageError
from sealora.server import authority


def refusal(partners, site, bundle, now=None):
    with pytest.raises(RefusedError) as error:
        enrolment.examine(site, bundle, now or partners.now)
    assert error.value.exit_code == 3
    assert "\n" not in str(error.value)
    return str(error.value)


def resigned(partners, bundle, **changes):
    """A bundle that the coordinator itself signed, with parts exchanged."""
    return bundle.model_copy(update=changes).signed(partners.federation.identity(None))


def test_keys_stay_at_home_and_are_the_owners(partners):
    site = partners.site("ams")
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in site.keys.iterdir()}
    assert set(files.values()) == {0o600}
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in (site.path, site.keys)} == {0o700}
    request = site.request_path.read_bytes()
    secret = site.identity(None).secret
    assert secret.hex().encode() not in request
    assert b"PRIVATE" not in request


def test_a_site_joins_and_has_what_opens_the_link(partners):
    site = partners.member("ams")
    found = SiteFolder.open(site.path)
    credentials = found.credentials(None, partners.now)
    assert credentials.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert credentials.key.startswith(b"-----BEGIN PRIVATE KEY")
    assert found.address() == ("localhost", 8443)
    assert [record.kind for record in read_records(site.audit_path)] == ["keys made", "joined"]


def test_a_passphrase_protects_both_keys(tmp_path):
    site = enrolment.create(tmp_path / "ams", "ams", b"secret")
    assert all(is_protected(path) for path in site.keys.iterdir())
    assert site.identity(b"secret").public == site.public
    with pytest.raises(UsageError, match="protected by a passphrase"):
        site.identity(None)


@pytest.mark.parametrize("name", ["", "Ams", "a/b", "..", "a" * 64, "ams ", "ä"])
def test_a_name_that_cannot_be_used(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be a site's name"):
        enrolment.create(tmp_path / "site", name, None)
    assert not (tmp_path / "site").exists()


def test_a_folder_that_holds_something(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="is not empty"):
        enrolment.create(tmp_path, "ams", None)
    with pytest.raises(UsageError, match="cannot be made"):
        enrolment.create(tmp_path / "notes.txt" / "site", "ams", None)


def test_where_there_is_no_site(tmp_path, partners):
    with pytest.raises(UsageError, match="not the folder of a site"):
        SiteFolder.open(tmp_path)
    with pytest.raises(UsageError, match="has not joined"):
        partners.site("ams").bundle()


def test_a_tampered_bundle(partners):
    site = partners.site("ams")
    bundle = partners.enrol(site)
    moved = bundle.model_copy(update={"address": "evil.example.org:8443"})
    assert "is not that of the expected key" in refusal(partners, site, moved)
    assert not site.bundle_path.exists()


def test_a_bundle_for_another_site(partners):
    ams, ber = partners.site("ams"), partners.site("ber")
    assert "it is for another site than ams" in refusal(partners, ams, partners.enrol(ber))
    mixed = resigned(partners, partners.enrol(ber), site="ams")
    assert "it is for another site than ams" in refusal(partners, ams, mixed)


def test_a_bundle_for_another_key(partners, tmp_path):
    ams = partners.site("ams")
    twin = enrolment.create(tmp_path / "twin", "ams", None)
    assert "another identity key" in refusal(partners, ams, partners.enrol(twin))


def test_a_bundle_for_a_tls_key_that_is_not_here(partners):
    ams = partners.site("ams")
    bundle = partners.enrol(ams)
    for path in ams.keys.glob("tls-*.pem"):
        path.unlink()
    assert "not for a TLS key of this site" in refusal(partners, ams, bundle)


def test_a_bundle_that_expired(partners):
    ams = partners.site("ams")
    bundle = partners.enrol(ams, days=1)
    later = partners.now + timedelta(days=2)
    assert "sealora site renew" in refusal(partners, ams, bundle, later)
    partners.join(ams, bundle)
    with pytest.raises(RefusedError, match="is valid from"):
        ams.credentials(None, later)


def test_a_certificate_of_an_authority_that_the_bundle_does_not_name(partners, tmp_path):
    ams = partners.site("ams")
    other = authority.create(tmp_path / "other", "stroke", "localhost:8443", None, partners.now)
    mixed = resigned(partners, partners.enrol(ams), authority=other.authority_path.read_text())
    assert "not one of this federation" in refusal(partners, ams, mixed)


def test_a_bundle_of_another_federation(partners, tmp_path):
    """Also where it calls itself the same: whoever joined once need not compare words again."""
    ams = partners.member("ams")
    partners.federation = authority.create(tmp_path / "other", "stroke", "localhost:8443", None, partners.now)
    assert "another federation than stroke" in refusal(partners, ams, partners.enrol(ams))


def test_an_authority_that_is_none(partners):
    ams = partners.site("ams")
    with pytest.raises(UsageError, match="cannot be read"):
        enrolment.examine(ams, resigned(partners, partners.enrol(ams), authority="x"), partners.now)


def test_renewal_brings_a_new_tls_key_for_the_same_identity(partners):
    ams = partners.member("ams")
    before = ams.credentials(None, partners.now)
    old = partners.request(ams)
    enrolment.renew(ams, None)
    assert partners.request(ams).identity == old.identity
    assert partners.request(ams).tls_request != old.tls_request
    # Until the bundle is there, the old certificate opens the link.
    assert ams.credentials(None, partners.now) == before
    partners.join(ams)
    after = ams.credentials(None, partners.now)
    assert after.key != before.key
    assert len(list(ams.keys.glob("tls-*.pem"))) == 1


def test_a_bundle_joined_late_leaves_the_key_of_the_next_renewal(partners):
    ams = partners.member("ams")
    bundles = []
    for later in (10, 20):
        before = set(ams.keys.iterdir())
        enrolment.renew(ams, None)
        (new,) = set(ams.keys.iterdir()) - before
        os.utime(new, (time.time() + later,) * 2)  # clocks of file systems may be coarse
        bundles.append(partners.enrol(ams))
    for bundle in bundles:
        partners.join(ams, bundle)
        assert ams.credentials(None, partners.now).certificate == bundle.certificate.encode()
    assert len(list(ams.keys.glob("tls-*.pem"))) == 1
    assert "not for a TLS key of this site" in refusal(partners, ams, bundles[0])


def test_joining_again_with_the_same_bundle_changes_nothing(partners):
    ams = partners.site("ams")
    bundle = partners.enrol(ams)
    partners.join(ams, bundle)
    joining = enrolment.examine(ams, bundle, partners.now)
    assert (joining.known, joining.roster) == (True, None)
    enrolment.join(ams, joining)
    assert ams.credentials(None, partners.now)


def test_a_roster_that_is_new_is_told_apart_from_one_that_is_followed(partners):
    ams, ber, cph = partners.found("ams", "ber", "cph")
    assert enrolment.examine(ams, partners.enrol(ams), partners.now).roster is None
    late = partners.site("dub")
    joining = enrolment.examine(late, partners.enrol(late), partners.now)
    assert joining.roster == PinnedRoster(ber).current()
    enrolment.join(late, joining)
    assert PinnedRoster(late).current() == PinnedRoster(cph).current()


def test_an_identity_file_that_was_exchanged(partners):
    ams, ber = partners.site("ams"), partners.site("ber")
    ams.identity_path.write_bytes(ber.identity_path.read_bytes())
    with pytest.raises(UsageError, match="is not the key of ams"):
        ams.identity(None)


def test_a_damaged_card(partners):
    ams = partners.site("ams")
    (ams.path / "site.json").write_text("{}")
    with pytest.raises(UsageError, match=r"site\.json is damaged"):
        SiteFolder.open(ams.path)


def test_nothing_secret_is_printed(partners):
    site = partners.member("ams")
    shown = repr(site) + repr(site.credentials(None, partners.now)) + repr(site.identity(None))
    assert site.identity(None).secret.hex() not in shown
    assert "PRIVATE" not in shown

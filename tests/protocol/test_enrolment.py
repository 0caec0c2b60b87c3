"""The three files of enrolment: what was changed, mixed or made up is refused, and nothing else happens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol import enrolment
from sealora.protocol.certificates import new_tls_key
from sealora.protocol.enrolment import Approval, Bundle, EnrolmentRequest, dump, load, split_address
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import genesis

AMS, BER, COORDINATOR = (IdentityKey.from_bytes(name.ljust(32)) for name in (b"ams", b"ber", b"c"))
KEY, OTHER_KEY = new_tls_key(), new_tls_key()
REQUEST = EnrolmentRequest.make("ams", AMS, KEY)
BUNDLE = Bundle(
    federation="stroke",
    address="federation.example.org:8443",
    authority="A",
    coordinator=COORDINATOR.public.hex(),
    site="ams",
    certificate="C",
).signed(COORDINATOR)


def failure(action, *arguments):
    with pytest.raises(ProtocolError) as error:
        action(*arguments)
    return error.value.failure


def changed(file, **fields):
    return file.model_copy(update=fields)


def test_a_request_proves_both_keys():
    REQUEST.check()
    assert load(EnrolmentRequest, dump(REQUEST)) == REQUEST


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "ber"},
        {"identity": BER.public.hex()},
        {"signature": "0" * 128},
        {"tls_request": EnrolmentRequest.make("ams", AMS, OTHER_KEY).tls_request},
    ],
)
def test_a_request_of_mixed_parts_is_forged(fields):
    assert failure(changed(REQUEST, **fields).check) == "forged"


def test_a_bundle_is_signed_as_a_whole():
    BUNDLE.check()
    assert load(Bundle, dump(BUNDLE)) == BUNDLE
    for name in set(Bundle.model_fields) - {"format", "signature"}:
        other = BER.public.hex() if name == "coordinator" else getattr(BUNDLE, name) + "x"
        assert failure(changed(BUNDLE, **{name: other}).check) == "forged", name


def test_somebody_elses_bundle_has_other_words():
    own = changed(BUNDLE, coordinator=BER.public.hex()).signed(BER)
    own.check()
    assert own.words != BUNDLE.words
    assert changed(BUNDLE, authority="B").words != BUNDLE.words
    assert len(BUNDLE.words.split()) == 16


def test_an_approval_is_of_one_revision():
    revision = genesis({"ams": AMS.public, "ber": BER.public}, COORDINATOR.public, 0)
    approval = Approval.make("ams", AMS, revision)
    assert bytes.fromhex(approval.signature) == revision.signed("ams", AMS).signatures["ams"]
    assert load(Approval, dump(approval)) == approval


KINDS = {EnrolmentRequest: REQUEST, Bundle: BUNDLE}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff\xfe", b"[" * 100_000, b"null", b'{"format": 1}'])
def test_other_bytes_are_malformed(kind, raw):
    assert failure(load, kind, raw) == "malformed"


def test_a_file_of_another_kind_or_version_is_malformed():
    assert failure(load, Bundle, dump(REQUEST)) == "malformed"
    assert failure(load, EnrolmentRequest, dump(REQUEST).replace(b"request-1", b"request-2")) == "malformed"
    assert failure(load, EnrolmentRequest, dump(REQUEST).replace(b"{", b'{"more": 1,')) == "malformed"


@pytest.mark.parametrize("name", ["", "Ams", "a b", "../x", "-a", "a-", "a" * 64, "ä", "a\n"])
def test_names_are_plain(name):
    raw = dump(changed(REQUEST, name=name))
    assert failure(load, EnrolmentRequest, raw) == "malformed"


def test_a_file_that_is_too_long(monkeypatch):
    monkeypatch.setattr(enrolment, "MAX_FILE_BYTES", 10)
    assert failure(load, Bundle, dump(BUNDLE)) == "malformed"


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_damage_is_believed(data):
    """Flipped and cut bytes of each kind: refused, or the same file but for white space."""
    kind = data.draw(st.sampled_from(list(KINDS)))
    raw = bytearray(dump(KINDS[kind]))
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[place] ^= data.draw(st.integers(1, 255))
    else:
        del raw[place:]
    try:
        found = load(kind, bytes(raw))
        found.check()
    except ProtocolError:
        return
    assert found == KINDS[kind]


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("localhost:1", "localhost", 1),
        ("federation.example.org:8443", "federation.example.org", 8443),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
    ],
)
def test_addresses(address, host, port):
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        *("", "localhost", "localhost:", ":1", "localhost:0", "localhost:65536", "localhost:¹", "a b:1"),
        *("::1:1", "[192.0.2.1]:1", "256.0.0.1:1", "https://a:1", "a..b:1", "localhost:000001", "[::1:1"),
    ],
)
def test_what_is_no_address(address):
    assert failure(split_address, address) == "malformed"

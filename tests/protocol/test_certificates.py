"""Certificates bind a TLS key to a party and its identity; anything else opens nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol import certificates
from sealora.protocol.certificates import Party, issue, new_tls_key, tls_public, verify_certificate
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAYS = timedelta(days=90)
IDENTITY = IdentityKey.from_bytes(b"ams".ljust(32)).public
AMS = Party("stroke", "site", "ams", IDENTITY)
COORDINATOR = Party("stroke", "coordinator", "coordinator", IDENTITY)
KEY = new_tls_key()
AUTHORITY_KEY = new_tls_key()
AUTHORITY = certificates.authority_certificate(AUTHORITY_KEY, "stroke", NOW)


def certified(party=AMS, host="", key=AUTHORITY_KEY, authority=AUTHORITY):
    return issue(key, authority, KEY.public_key(), party, NOW, DAYS, host)


def refused(failure, pem, role="site", now=NOW, host="", authority=AUTHORITY):
    with pytest.raises(ProtocolError) as error:
        verify_certificate(pem, authority, role, now, host)
    assert error.value.failure == failure


def test_a_sites_certificate_names_it_and_its_keys():
    found = verify_certificate(certified(), AUTHORITY, "site", NOW)
    assert found.party == AMS
    assert found.tls_key == tls_public(KEY.public_key())
    assert found.expires == NOW + DAYS


@pytest.mark.parametrize("host", ["federation.example.org", "192.0.2.7", "2001:db8::1"])
def test_a_coordinators_is_for_its_host_alone(host):
    pem = certified(COORDINATOR, host)
    assert verify_certificate(pem, AUTHORITY, "coordinator", NOW, host).party == COORDINATOR
    refused("untrusted", pem, "coordinator", host="other.example.org")


def test_nobody_plays_another_role():
    refused("untrusted", certified(), "coordinator", host="localhost")
    refused("untrusted", certified(COORDINATOR, "localhost"), "site")
    refused("untrusted", AUTHORITY, "site")


@pytest.mark.parametrize("moment", [NOW - timedelta(hours=2), NOW + DAYS + timedelta(seconds=1)])
def test_it_is_valid_for_its_time_only(moment):
    refused("expired", certified(), now=moment)


def test_a_clock_that_is_an_hour_behind_will_do():
    assert verify_certificate(certified(), AUTHORITY, "site", NOW - timedelta(minutes=59))


def test_another_authority_of_the_same_name_is_another():
    key = new_tls_key()
    other = certificates.authority_certificate(key, "stroke", NOW)
    refused("untrusted", certified(key=key, authority=other))
    refused("untrusted", certified(), authority=other)


def test_a_site_cannot_sign_certificates_itself():
    mine = certified()
    theirs = issue(KEY, mine, new_tls_key().public_key(), AMS, NOW, DAYS)
    refused("untrusted", theirs)
    refused("untrusted", theirs, authority=mine)


def self_made(*names):
    """A certificate of the authority with other names than Sealora writes."""
    root = x509.load_pem_x509_certificate(AUTHORITY)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(root.subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(AUTHORITY_KEY.public_key()), critical=False
        )
    )
    return builder.sign(AUTHORITY_KEY, SHA256()).public_bytes(Encoding.PEM)


def uri(text):
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    "names",
    [
        (x509.DNSName("ams"),),
        (uri(AMS.uri), uri(AMS.uri.replace("ams", "ber"))),
        (uri(AMS.uri.upper()),),
        (uri(AMS.uri + "&x=1"),),
        (uri(AMS.uri + "\n"),),
        (uri("sealora://stroke/site/../coordinator?identity=" + "0" * 64),),
        (uri("https://stroke/site/ams?identity=" + "0" * 64),),
        (uri("sealora://stroke/site/ams?identity=" + "0" * 63),),
    ],
)
def test_other_names_are_no_party(names):
    refused("stranger", self_made(*names))


def test_a_certificate_says_one_role():
    refused("stranger", self_made(uri(COORDINATOR.uri)))


@pytest.mark.parametrize(
    "pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\n", certified()[:200], b"A" * 20_000]
)
def test_what_is_no_certificate_is_malformed(pem):
    refused("malformed", pem)
    refused("malformed", certified(), authority=pem)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_flipped_byte_is_believed(place, flip):
    pem = bytearray(certified_once())
    place %= len(pem)
    pem[place] ^= flip
    try:
        found = verify_certificate(bytes(pem), AUTHORITY, "site", NOW)
    except ProtocolError:
        return
    assert found.party == AMS, "a change that nobody reads, such as of a line's end"


def certified_once(kept=[]):  # noqa: B006  made once, for all examples
    if not kept:
        kept.append(certified())
    return kept[0]


def test_a_request_proves_its_key():
    request = certificates.signing_request(KEY, "ams")
    assert tls_public(certificates.requested_key(request)) == tls_public(KEY.public_key())
    parsed = x509.load_pem_x509_csr(request)
    raw = bytearray(parsed.public_bytes(Encoding.DER))
    raw[-1] ^= 1
    with pytest.raises(ProtocolError) as error:
        certificates.requested_key(x509.load_der_x509_csr(bytes(raw)).public_bytes(Encoding.PEM))
    assert error.value.failure == "forged"


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()]
)
def test_only_p256_keys_are_certified(key):
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    with pytest.raises(ProtocolError) as error:
        certificates.requested_key(request.public_bytes(Encoding.PEM))
    assert error.value.failure == "malformed"


def test_an_authority_signs_itself():
    certificates.check_authority(AUTHORITY)
    with pytest.raises(ProtocolError):
        certificates.check_authority(certified())


def test_credentials_keep_the_key_out_of_their_repr():
    assert "secret" not in repr(certificates.Credentials(b"a", b"c", b"secret"))

"""Certificates of a federation: who may open a connection, and which protocol identity speaks over it.

TLS keys are ECDSA P-256, which every gRPC accepts; identities are Ed25519. A certificate binds the two
in one URI: sealora://FEDERATION/site/NAME?identity=HEX, or …/coordinator?identity=HEX. Certificates
admit to the link only. No statement of the protocol rests on them: identities are looked up on the
roster.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import KEY_BYTES

Role = Literal["site", "coordinator"]
MAX_PEM_BYTES = 16_384
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Names of sites and federations: as in the domain name system, so that no two look alike."""
AUTHORITY_DAYS = 3650
SKEW = timedelta(hours=1)
"""A new certificate is valid since an hour ago, for clocks that are behind."""

_URI = re.compile(
    rf"sealora://(?P<federation>{NAME.pattern})/"
    rf"(?:site/(?P<site>{NAME.pattern})|coordinator)\?identity=(?P<identity>[0-9a-f]{{{2 * KEY_BYTES}}})"
)


@dataclass(frozen=True)
class Party:
    """Whom a certificate is about: its federation, its part in it, its name and its Ed25519 key."""

    federation: str
    role: Role
    name: str
    """A site's name; "coordinator" for the coordinator."""
    identity: bytes

    @property
    def uri(self) -> str:
        """The name that the certificate carries."""
        path = f"site/{self.name}" if self.role == "site" else "coordinator"
        return f"sealora://{self.federation}/{path}?identity={self.identity.hex()}"


@dataclass(frozen=True)
class Certificate:
    """A certificate that the federation's authority issued, and that is valid now."""

    party: Party
    serial: int
    expires: datetime
    tls_key: bytes
    """The TLS public key, as DER."""


@dataclass(frozen=True)
class Credentials:
    """What a TLS library needs, all as PEM; the key is unprotected and stays in memory."""

    authority: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def new_tls_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def tls_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """A TLS public key as DER, by which certificates and keys find one another."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def authority_certificate(key: ec.EllipticCurvePrivateKey, federation: str, now: datetime) -> bytes:
    """The federation's self-signed root as PEM; it may sign certificates of parties and nothing else."""
    name = _subject(federation, f"{federation} authority")
    builder = (
        _builder(name, name, key.public_key(), now, timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def signing_request(key: ec.EllipticCurvePrivateKey, name: str) -> bytes:
    """A PKCS#10 request as PEM, which proves that its sender has the TLS key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject("sealora", name))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The TLS key of a request. Raises ProtocolError: "malformed", or "forged" without proof of the key."""
    with _reading("the certificate request"):
        parsed = x509.load_pem_x509_csr(_bounded(request))
        # Only the key is taken from it: what it says besides is the sender's own word.
        key = _p256(parsed.public_key())
        if not parsed.is_signature_valid:
            raise ProtocolError("forged", "the certificate request is not signed by the TLS key in it")
        return key


def issue(
    authority_key: ec.EllipticCurvePrivateKey,
    authority: bytes,
    public: ec.EllipticCurvePublicKey,
    party: Party,
    now: datetime,
    valid: timedelta,
    host: str = "",
) -> bytes:
    """A certificate as PEM. `host` is the coordinator's name or address for the sites that dial it."""
    root = x509.load_pem_x509_certificate(authority)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(party.uri)]
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH
    if party.role == "coordinator":
        names.append(_host(host))
        purpose = ExtendedKeyUsageOID.SERVER_AUTH
    builder = (
        _builder(_subject(party.federation, party.name), root.subject, public, now, valid)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
    )
    return builder.sign(authority_key, SHA256()).public_bytes(Encoding.PEM)


def check_authority(pem: bytes) -> None:
    """Raises ProtocolError("malformed") unless the PEM is one P-256 root certificate."""
    with _reading("the authority's certificate"):
        root = x509.load_pem_x509_certificate(_bounded(pem))
        _p256(root.public_key())
        root.verify_directly_issued_by(root)


def verify_certificate(
    pem: bytes, authority: bytes, role: Role, now: datetime, host: str = ""
) -> Certificate:
    """What a party's certificate says, once it is known to be the authority's, of this role, and in date.

    A coordinator's must be for `host`. Raises ProtocolError: "malformed", "expired" (or not yet valid),
    "untrusted" (another authority, purpose or host), "stranger" (it names no party of this role).
    """
    with _reading("the certificate"):
        leaf = x509.load_pem_x509_certificate(_bounded(pem))
        root = x509.load_pem_x509_certificate(_bounded(authority))
        since, until = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        if not since <= now <= until:
            raise ProtocolError(
                "expired",
                f"the certificate is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d} only, "
                f"and the clock here says {now.astimezone(UTC):%Y-%m-%d %H:%M}",
            )
        _verify(leaf, root, role, now, host)
        party = _party(leaf)
        if party.role != role:
            raise ProtocolError("stranger", f"the certificate names no {role}")
        return Certificate(party, leaf.serial_number, until, tls_public(_p256(leaf.public_key())))


def _verify(leaf: x509.Certificate, root: x509.Certificate, role: Role, now: datetime, host: str) -> None:
    """The chain, purposes and names, by the rules of RFC 5280 and the web's."""
    policy = PolicyBuilder().store(Store([root])).time(now).max_chain_depth(0)
    try:
        if role == "site":
            policy.build_client_verifier().verify(leaf, [])
        else:
            policy.build_server_verifier(_host(host)).verify(leaf, [])
    except VerificationError:
        raise ProtocolError(
            "untrusted", f"the certificate is not one of this federation for a {role}"
        ) from None


def _party(leaf: x509.Certificate) -> Party:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if found is None:
        raise ProtocolError("stranger", "the certificate names no party")
    role: Role = "site" if found["site"] else "coordinator"
    return Party(found["federation"], role, found["site"] or role, bytes.fromhex(found["identity"]))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    valid: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + valid)
    )


def _subject(organisation: str, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.IPAddress | x509.DNSName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _bounded(pem: bytes) -> bytes:
    if len(pem) > MAX_PEM_BYTES:
        raise ProtocolError("malformed", "a certificate is too long")
    return pem


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ProtocolError("malformed", "the TLS key is not an ECDSA P-256 key")
    return key


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """The library has many kinds of exceptions for bytes that somebody tampered with; here they are one."""
    try:
        yield
    except ProtocolError:
        raise
    except Exception:
        raise ProtocolError("malformed", f"{what} cannot be read") from None

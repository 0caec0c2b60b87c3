"""What travels between an operator at a site and the one at the coordinator: three small files.

A *request* asks for a certificate, a *bundle* brings it with all that a site must know of its
federation, an *approval* is a site's signature on a revision of the roster. Each is one JSON object.
None of them is secret. A bundle is as trustworthy as the fingerprints that people compared.
"""

import hashlib
from ipaddress import ip_address
from typing import Annotated, Literal, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, ValidationError

from sealora.protocol.certificates import MAX_PEM_BYTES, NAME, requested_key, signing_request
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey, pack, verify
from sealora.protocol.roster import REVISION, Revision
from sealora.protocol.settings import Settings
from sealora.protocol.words import KEY_WORDS, spoken

REQUEST = "sealora/v1/enrolment-request"
BUNDLE = "sealora/v1/join-bundle"
MAX_FILE_BYTES = 1 << 25
MAX_ROSTER_CHARACTERS = 1 << 24

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern="^[0-9a-f]{128}$")]
Pem = Annotated[str, Field(max_length=MAX_PEM_BYTES)]
File = TypeVar("File", bound=Settings)


class EnrolmentRequest(Settings):
    """A site's wish for a certificate. The identity key signs the TLS key, which signs itself."""

    format: Literal["sealora-request-1"] = "sealora-request-1"
    name: Name
    identity: Key
    tls_request: Pem
    signature: Signature

    @classmethod
    def make(cls, name: str, identity: IdentityKey, tls_key: ec.EllipticCurvePrivateKey) -> Self:
        """A request with proof that its sender has both keys."""
        request = signing_request(tls_key, name)
        signature = identity.sign(REQUEST, name.encode(), request)
        return cls(
            name=name,
            identity=identity.public.hex(),
            tls_request=request.decode(),
            signature=signature.hex(),
        )

    def check(self) -> ec.EllipticCurvePublicKey:
        """The TLS key. Raises ProtocolError: "forged" unless both keys signed, or "malformed"."""
        identity, signature = bytes.fromhex(self.identity), bytes.fromhex(self.signature)
        verify(identity, signature, REQUEST, self.name.encode(), self.tls_request.encode())
        return requested_key(self.tls_request.encode())


class Bundle(Settings):
    """What a site needs to join: certificates, the coordinator's address and key, and the roster so far.

    The coordinator's identity signs the whole, so that nobody can mix parts of two bundles.
    """

    format: Literal["sealora-bundle-1"] = "sealora-bundle-1"
    federation: Name
    address: Annotated[str, Field(max_length=300)]
    authority: Pem
    coordinator: Key
    site: Name
    certificate: Pem
    roster: Annotated[str, Field(max_length=MAX_ROSTER_CHARACTERS)] = ""
    """Lines of JSON; empty while no roster is in force."""
    signature: Signature = "0" * 128

    def signed(self, identity: IdentityKey) -> Self:
        """The same bundle under the coordinator's signature."""
        return self.model_copy(update={"signature": identity.sign(BUNDLE, *self._fields()).hex()})

    def check(self) -> None:
        """Raises ProtocolError: "forged" unless the coordinator that it names signed it, "malformed"."""
        verify(bytes.fromhex(self.coordinator), bytes.fromhex(self.signature), BUNDLE, *self._fields())
        split_address(self.address)

    @property
    def words(self) -> str:
        """The federation's fingerprint: see `federation_words`."""
        return federation_words(self.federation, self.authority, bytes.fromhex(self.coordinator))

    def _fields(self) -> tuple[bytes, ...]:
        values = self.model_dump(exclude={"signature"}).values()
        return tuple(str(value).encode() for value in values)


class Approval(Settings):
    """A site's signature on one revision of the roster."""

    format: Literal["sealora-approval-1"] = "sealora-approval-1"
    site: Name
    revision: Key
    signature: Signature

    @classmethod
    def make(cls, site: str, identity: IdentityKey, revision: Revision) -> Self:
        """The approval of a revision by a site that read it."""
        signature = identity.sign(REVISION, revision.hash)
        return cls(site=site, revision=revision.hash.hex(), signature=signature.hex())


def federation_words(federation: str, authority: str, coordinator: bytes) -> str:
    """A federation as words: its name, its root certificate and its coordinator's key."""
    fields = federation.encode(), authority.encode(), coordinator
    return spoken(hashlib.sha256(pack("sealora/v1/federation", *fields)).digest(), KEY_WORDS)


def dump(file: Settings) -> bytes:
    """A file's bytes."""
    return file.model_dump_json(indent=2).encode() + b"\n"


def load(kind: type[File], raw: bytes) -> File:
    """The file of that kind. Raises ProtocolError("malformed")."""
    if len(raw) > MAX_FILE_BYTES:
        raise ProtocolError("malformed", "the file is too long")
    try:
        return kind.model_validate_json(raw)
    except (ValidationError, RecursionError):
        raise ProtocolError("malformed", f"the file is no {_NOUNS[kind]} of this version") from None


_NOUNS: dict[type[Settings], str] = {
    EnrolmentRequest: "enrolment request",
    Bundle: "join bundle",
    Approval: "approval of a roster",
}


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`. Raises ProtocolError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    whole = colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536 and len(port) <= 5
    if not whole or not (_is_host_name(host) or _is_ip(bare, bracketed)):
        raise ProtocolError("malformed", "an address is HOST:PORT, such as federation.example.org:8443")
    return bare, int(port)


def _is_host_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= 253 and not labels[-1].isdigit() and all(map(NAME.fullmatch, labels))


def _is_ip(host: str, bracketed: bool) -> bool:
    try:
        return (ip_address(host).version == 6) == bracketed
    except ValueError:
        return False

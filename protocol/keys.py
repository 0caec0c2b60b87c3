"""Signatures, key agreement, key derivation and sealing: every use of public-key cryptography.

Ed25519 (RFC 8032) signs, X25519 (RFC 7748) agrees, HKDF-SHA256 (RFC 5869) derives and AES-256-GCM
(NIST SP 800-38D) seals. `keystream.derive_key` is for public purposes; secrets go through `derive`.
"""

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealora.protocol.errors import ProtocolError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
TAG_BYTES = 16
ZERO_NONCE = bytes(12)
FIELD_PRIME = 2**255 - 19


def pack(label: str, *fields: bytes) -> bytes:
    """The one encoding of a domain label and its fields, for signatures, hashes and key derivation.

    Each part is preceded by its length (8 bytes, big-endian), so that no two lists of parts give
    the same bytes.
    """
    return b"".join(len(part).to_bytes(8, "big") + part for part in (label.encode(), *fields))


class IdentityKey:
    """A site's or the coordinator's long-term Ed25519 signing key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "IdentityKey":
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> "IdentityKey":
        """The key of a 32-byte seed. Raises ValueError for another length."""
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    @property
    def secret(self) -> bytes:
        """The 32-byte seed, for the owner's key file."""
        return self._key.private_bytes_raw()

    def sign(self, label: str, *fields: bytes) -> bytes:
        """The 64-byte signature over `pack(label, *fields)`."""
        return self._key.sign(pack(label, *fields))

    def __repr__(self) -> str:
        return f"IdentityKey(public={self.public.hex()})"


def verify(public: bytes, signature: bytes, label: str, *fields: bytes) -> None:
    """Raises ProtocolError("forged", …) unless `public` signed exactly this label and these fields."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, pack(label, *fields))
    except (InvalidSignature, ValueError):
        raise ProtocolError("forged", f"the signature on {label} is not that of the expected key") from None


class ExchangeKey:
    """A one-attempt X25519 key."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "ExchangeKey":
        """A new key from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_secret(cls, secret: bytes) -> "ExchangeKey":
        """The key of 32 secret bytes, as `secret` gives them. Raises ValueError for another length."""
        return cls(X25519PrivateKey.from_private_bytes(secret))

    @property
    def secret(self) -> bytes:
        """The 32 bytes of the scalar before clamping, which is what gets shared among the sites."""
        return self._key.private_bytes_raw()

    def agree(self, peer_public: bytes) -> bytes:
        """The 32-byte shared secret with the owner of `peer_public`; pass it through `derive`.

        Raises ProtocolError("low_order", …) where the peer's key is of low order, which would make
        the secret a constant that everybody knows (RFC 7748, section 6.1), or is not the one
        encoding of a point that X25519 itself produces: public keys are compared byte by byte.
        """
        if len(peer_public) != KEY_BYTES or int.from_bytes(peer_public, "little") >= FIELD_PRIME:
            raise ProtocolError("low_order", "the peer's exchange key is malformed")
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError:
            raise ProtocolError("low_order", "the peer's exchange key is of low order") from None

    def __repr__(self) -> str:
        return f"ExchangeKey(public={self.public.hex()})"


def derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """A 32-byte key for the purpose that `info` names: HKDF-SHA256 (RFC 5869), extract and expand."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(secret)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt and authenticate under a key that seals this one message: AES-256-GCM, 16 bytes longer.

    The nonce is zero. GCM asks that a pair of key and nonce never repeats (SP 800-38D, section 8);
    here the key itself never does, being derived for one attempt, one sender and one recipient.
    A resend must therefore repeat the bytes sent, not seal again.
    Raises: ValueError if the key is not 32 bytes.
    """
    return _cipher(key).encrypt(ZERO_NONCE, plaintext, associated)


def unseal(key: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Open what `seal` made with the same key and associated data.

    Raises: ProtocolError("tampered", …) if any of the three differs; ValueError if the key is not 32 bytes.
    """
    try:
        return _cipher(key).decrypt(ZERO_NONCE, ciphertext, associated)
    except InvalidTag:
        raise ProtocolError("tampered", "a sealed message was altered or meant for somebody else") from None


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise ValueError("a sealing key is 32 bytes long")
    return AESGCM(key)

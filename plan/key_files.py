"""Secret files: private keys that only their owner can read, with a passphrase if wanted."""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealora.plan.durable import sync_folder
from sealora.protocol.errors import UsageError
from sealora.protocol.keys import IdentityKey

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
MAX_SECRET_BYTES = 16_384
OWNER_ONLY = 0o600


def write_key(path: Path, key: PrivateKey | IdentityKey, passphrase: bytes | None) -> None:
    """Write a private key as PKCS#8 PEM to a new file of mode 0600, on disk before this returns.

    Raises UsageError if there is a file already: keys are never overwritten.
    """
    if isinstance(key, IdentityKey):
        key = ed25519.Ed25519PrivateKey.from_private_bytes(key.secret)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, _encryption(passphrase))
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError:
        raise UsageError(f"{path} exists, and keys are never overwritten.", "Choose a new folder.") from None
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, OWNER_ONLY)  # whatever the umask
        file.write(pem)
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


def read_secret(path: Path) -> bytes:
    """A secret file's bytes. Raises UsageError if others than its owner may read or write it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise UsageError(
                    f"{path} is open to others than its owner (mode {mode:04o}).", f"Run chmod 600 {path}."
                )
            raw = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_SECRET_BYTES:
        raise UsageError(f"{path} is too long for a secret.")
    return raw


def read_identity(path: Path, passphrase: bytes | None) -> IdentityKey:
    """An Ed25519 key file. Raises UsageError: unreadable, open to others, passphrase, another kind."""
    key = _read_key(path, passphrase)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path} holds no Ed25519 key.", "Restore it from a backup.")
    return IdentityKey.from_bytes(key.private_bytes_raw())


def read_tls_key(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """A P-256 key file. Raises UsageError as `read_identity` does."""
    key = _read_key(path, passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} holds no ECDSA key.", "Restore it from a backup.")
    return key


def is_protected(path: Path) -> bool:
    """Whether a key file wants a passphrase. Raises UsageError if it cannot be read."""
    return read_secret(path).startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def plain_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A TLS key as unprotected PEM, for a TLS library's memory. Never write it to a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path, passphrase: bytes | None) -> object:
    protected, raw = is_protected(path), read_secret(path)
    if protected and not passphrase:
        raise UsageError(
            f"{path} is protected by a passphrase.",
            "Set SEALORA_PASSPHRASE, or name a file with --passphrase-file.",
        )
    try:
        return load_pem_private_key(raw, passphrase if protected else None)
    except ValueError:
        reason = "the passphrase does not open it" if protected else "it is damaged"
        raise UsageError(f"{path} cannot be used: {reason}.") from None


def _encryption(passphrase: bytes | None) -> KeySerializationEncryption:
    return BestAvailableEncryption(passphrase) if passphrase else NoEncryption()

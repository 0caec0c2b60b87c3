"""Which data a ledger pays for: a keyed fingerprint in a file beside it, for its owner's eyes only.

Two runs add up in one ledger only if they are about the same rows. A hash of the data would let others
test guesses of it, so the key is random, the file has mode 0600, and neither ever leaves the site. Whoever
removes the file says that the ledger goes on with changed data: what was spent stays.
"""

import hmac
import json
import os
from pathlib import Path

from sealora.privacy.ledger import RESTORE
from sealora.protocol.errors import DataError, RefusedError, RunError

FORMAT = "sealora-binding-1"
KEY_BYTES = 32


def binding_path(ledger: Path) -> Path:
    """The file beside a ledger that holds the fingerprint of its data."""
    return ledger.with_suffix(".data")


def require_same_data(ledger: Path, digest: bytes) -> None:
    """Bind a ledger to the data of that digest, or compare if it is bound already.

    The caller holds the ledger's lock. Raises RefusedError if it is bound to other data, DataError if the
    file is damaged, RunError if it cannot be written.
    """
    path = binding_path(ledger)
    if not path.exists():
        _bind(path, digest)
        return
    key, fingerprint = _read(path)
    if not hmac.compare_digest(_fingerprint(key, digest), fingerprint):
        raise RefusedError(
            f"the ledger {ledger.name} pays for other data than these.",
            f"Use the data it was begun with; if they only changed, remove {path.name}: the ledger then goes "
            "on, and what was spent stays. Never do so where rows moved from one site to another.",
        )


def _read(path: Path) -> tuple[bytes, bytes]:
    """Key and fingerprint."""
    try:
        stored = json.loads(path.read_text("ascii"))
        key, fingerprint = bytes.fromhex(stored["key"]), bytes.fromhex(stored["fingerprint"])
        if stored["format"] == FORMAT and len(key) == KEY_BYTES:
            return key, fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(f"{path.name}, which says what data a ledger pays for, cannot be read.", RESTORE)


def _bind(path: Path, digest: bytes) -> None:
    key = os.urandom(KEY_BYTES)
    content = {"format": FORMAT, "key": key.hex(), "fingerprint": _fingerprint(key, digest).hex()}
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(content) + "\n")
            file.flush()
            os.fsync(descriptor)
        partial.replace(path)
    except OSError as error:
        raise RunError(f"{path.name} cannot be written: {error.strerror}.", "Nothing is released.") from error


def _fingerprint(key: bytes, digest: bytes) -> bytes:
    return hmac.digest(key, digest, "sha256")

"""Files of enrolment, others' and one's own: read within bounds, and refused in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from sealora.protocol.enrolment import MAX_FILE_BYTES, File, load
from sealora.protocol.errors import ProtocolError, RefusedError, UsageError

REMEDIES = {
    "malformed": "Ask for the file again.",
    "forged": "Ask for the file again over another channel, and tell its sender.",
    "expired": "Run `sealora site renew`, and have the new request enrolled.",
    "no_quorum": "Wait for more members to sign.",
    "rolled_back": "Ask the other sites which roster is in force, and tell them about this one.",
}
"""What to do about a failure class."""


def read_received(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """A file's bytes. Raises UsageError if it cannot be read or is longer than `limit`."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from None
    if len(raw) > limit:
        raise UsageError(f"{path} is longer than {limit:,} bytes.")
    return raw


def load_received(kind: type[File], path: Path) -> File:
    """A request, bundle or approval, its signatures unchecked. Raises UsageError."""
    with judging(path):
        return load(kind, read_received(path))


def load_own(kind: type[File], path: Path) -> File:
    """A JSON file that this party wrote itself. Raises UsageError if it was damaged."""
    try:
        return kind.model_validate_json(read_received(path))
    except ValidationError:
        raise UsageError(f"{path} is damaged.", "Restore it from a backup.") from None


@contextmanager
def judging(source: Path | str) -> Iterator[None]:
    """Turn a ProtocolError about `source` into what its reader is told.

    Raises: UsageError for what is malformed, RefusedError for what is well made and not to be trusted.
    """
    try:
        yield
    except ProtocolError as error:
        kind = UsageError if error.failure == "malformed" else RefusedError
        raise kind(f"{source}: {error.message}.", REMEDIES.get(error.failure, "")) from None

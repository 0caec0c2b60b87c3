"""What a coordinator keeps for auditors and for itself: the heads that sites signed, one line each."""

import os
from pathlib import Path

from sealora.protocol.errors import UsageError
from sealora.protocol.heads import HeadBook


def open_head_book(path: Path) -> HeadBook:
    """The book of the heads noted in that file, which is made when the first is.

    A last line that was cut off is dropped: its site signs again. Raises UsageError for a damaged file.
    """
    raw = path.read_bytes() if path.exists() else b""
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        os.truncate(path, len(whole))

    def append(record: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(record + b"\n")

    try:
        return HeadBook(whole.splitlines(), append)
    except (ValueError, KeyError, TypeError, IndexError):
        raise UsageError(
            f"{path}, in which the sites' signed heads are noted, was damaged.", "Restore it from a backup."
        ) from None

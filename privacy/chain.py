"""Append-only files of JSON entries, each linked to all before it: ledgers and audit logs.

    {"entry":{...},"link":"<SHA-256, hex>"}

`link` is a hash of the previous line's link and this line's entry, so a changed, missing or inserted
line breaks every link after it, and the last link (the head) stands for the whole file. A file cut
back to an earlier whole line looks like an honest earlier one: only whoever noted a later head can tell.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealora.privacy.events import canonical_json
from sealora.protocol.errors import DataError, RefusedError, RunError, UsageError
from sealora.protocol.keystream import derive_key

MAX_LINE = 1 << 16
"""Bytes of the longest line, its newline included."""

Entry = dict[str, object]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChainKind:
    """How messages name a file of this kind, and what they advise where it is damaged."""

    noun: str
    restore: str


class HashChain:
    """The file, open for appending by whoever holds its lock: for good (`lock`) or for a turn (`turn`).

    Raises: UsageError if the file cannot be opened. It is made if need be, with mode 0600.
    """

    def __init__(self, path: Path, kind: ChainKind) -> None:
        self.path = path
        self.kind = kind
        self.heads: list[bytes] = []
        """The chain's head after each line, 32 bytes each."""
        self.torn = 0
        """Bytes of unfinished entries that were cut off the end."""
        self._end = 0
        self._process = os.getpid()
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def lock(self) -> None:
        """Take the lock until the chain is closed. Raises RefusedError if another process holds it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._secure()
        except BlockingIOError as error:
            raise RefusedError(
                f"the {self.kind.noun} {self.path} is in use by another process.", "Wait for that run to end."
            ) from error
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the lock for a moment, after waiting for those who hold it for theirs.

        Raises: DataError if the file at the path is no longer the one that was opened.
        """
        self.require_open()
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            self._secure()
            self._require_same_file()
            yield
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the lock back, also where a forked child still holds the descriptor."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if self._process == os.getpid():
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    @property
    def closed(self) -> bool:
        """Whether it was closed, be it by a failed write."""
        return self._descriptor < 0

    def require_open(self) -> None:
        """Raises RunError once the chain is closed, be it by a failed write, and in a forked child."""
        if self._descriptor < 0 or self._process != os.getpid():
            raise RunError(f"{self.path.name} is closed.", f"Open the {self.kind.noun} again.")

    def catch_up(self, header: Entry) -> Iterator[Entry]:
        """Every entry on disk that was not seen yet, in order; then a torn tail is mended. Needs the lock.

        `header` is what a first line would be: only a beginning of it, or nothing, may be cut off where
        no whole line precedes.
        Raises: DataError where the file is damaged.
        """
        with self._reader() as stream:
            stream.seek(self._end)
            for entry, head in _entries(stream, self.path, self.kind, self._last, len(self.heads)):
                self._advance(entry, head)
                yield entry
        tail = os.pread(self._descriptor, MAX_LINE, self._end)
        last = _parse(tail, self._last)
        if last is not None:
            # All of the line but its newline was written: it counts.
            self._write(b"\n")
            self._advance(last, _link(self._last, last))
            yield last
        elif tail:
            self._cut_tail(tail, header)

    def append(self, entry: Entry, sync: bool = True) -> None:
        """Write one entry and sync it to disk. Needs the lock, and to have caught up.

        Without `sync` it survives the process, but the machine only once a later entry was synced.
        Raises: UsageError if it is too long; RunError if it cannot be written, which closes the chain:
        how much reached the disk is unknown until it is opened again.
        """
        link = _link(self._last, entry)
        line = _line(entry, link)
        if len(line) >= MAX_LINE:
            raise UsageError(f"an entry of {len(line)} bytes is too long for {self.path.name}.")
        self._write(line, sync)
        self._advance(entry, link)

    @property
    def _last(self) -> bytes:
        return self.heads[-1] if self.heads else b""

    def _advance(self, entry: Entry, head: bytes) -> None:
        self._end += len(_line(entry, head))
        self.heads.append(head)

    def _reader(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except OSError as error:
            raise self._unusable(error) from error

    def _secure(self) -> None:
        os.fchmod(self._descriptor, 0o600)
        if not self.heads:
            _sync_directory(self.path.parent)

    def _require_same_file(self) -> None:
        found = os.fstat(self._descriptor)
        if (
            not self.path.exists()
            or not os.path.samestat(found, self.path.stat())
            or found.st_size < self._end
        ):
            raise DataError(f"{self.path.name} was replaced or cut while it was in use.", self.kind.restore)

    def _cut_tail(self, tail: bytes, header: Entry) -> None:
        torn = (
            not _starts_with_json(tail) if self.heads else _line(header, _link(b"", header)).startswith(tail)
        )
        if not torn:
            raise DataError(
                f"{self.path.name} is damaged at line {len(self.heads) + 1}, the last.", self.kind.restore
            )
        os.ftruncate(self._descriptor, self._end)
        os.fsync(self._descriptor)
        self.torn += len(tail)
        logger.warning("%s: cut off %d bytes of an entry that was never completed", self.path.name, len(tail))

    def _write(self, data: bytes, sync: bool = True) -> None:
        self.require_open()
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            if sync:
                os.fsync(self._descriptor)
        except OSError as error:
            self.close()
            raise RunError(
                f"{self.path.name} cannot be written: {error.strerror}.", "Nothing is released."
            ) from error

    def _unusable(self, error: OSError) -> UsageError:
        return UsageError(f"the {self.kind.noun} {self.path} cannot be opened: {error.strerror}.")


def read_chain(path: Path, kind: ChainKind) -> Iterator[tuple[Entry, bytes]]:
    """The entries of a chain in order, each with the head after it; takes no lock.

    A last line without its newline is left out: see `unfinished`.
    Raises: DataError naming the first damaged line; UsageError if the file cannot be read.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(f"the {kind.noun} {path.name} cannot be read: {error.strerror}.") from error
    with stream:
        yield from _entries(stream, path, kind, b"", 0)


def unfinished(path: Path) -> int:
    """Bytes after the last whole line: an entry that is being written, was never finished, or is none."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - MAX_LINE))
        tail = stream.read()
    return len(tail) - (tail.rfind(b"\n") + 1)


def _entries(
    stream: BinaryIO, path: Path, kind: ChainKind, head: bytes, before: int
) -> Iterator[tuple[Entry, bytes]]:
    """The entries that follow `head`, the head after `before` lines."""
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), start=before + 1):
        if not line.endswith(b"\n") and len(line) < MAX_LINE:
            return
        entry = _parse(line[:-1], head)
        if entry is None:
            raise DataError(
                f"{path.name} is damaged at line {number}: it does not follow from the line above.",
                kind.restore,
            )
        head = _link(head, entry)
        yield entry, head


def _sync_directory(path: Path) -> None:
    """Make a new file's name durable, not only its contents."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(entry: Entry, link: bytes) -> bytes:
    return canonical_json({"entry": entry, "link": link.hex()}) + b"\n"


def _link(head: bytes, entry: Entry) -> bytes:
    return derive_key("sealora ledger", head, canonical_json(entry))


def _parse(line: bytes, head: bytes) -> Entry | None:
    """The entry of a line that follows `head`; None if the line is not exactly what was written."""
    try:
        entry = json.loads(line)["entry"]
        whole = isinstance(entry, dict) and _line(entry, _link(head, entry)) == line + b"\n"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return entry if whole else None


def _starts_with_json(tail: bytes) -> bool:
    """Whether a whole JSON value stands there: then it is a damaged line, for a torn one stops before."""
    try:
        json.JSONDecoder().raw_decode(tail.decode("latin-1"))
    except (ValueError, RecursionError):
        return False
    return True

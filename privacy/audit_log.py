"""What a party was asked, what it answered, and every byte that left it: a hash-chained file.

Each record holds sizes, hashes and facts such as round numbers or the line of a policy; never contents.
It is on disk before the answer that it tells of leaves. Several processes may write to one log.

    with AuditLog(path, "ams") as log:
        log.record("open", "in", len(raw), sha256, {"round": 3})
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sealora.privacy.chain import ChainKind, Entry, HashChain, read_chain
from sealora.protocol.errors import DataError, UsageError

FORMAT = "sealora-audit-1"
AUDIT_LOG = ChainKind("audit log", "Keep it, and look into what happened; a new log begins when it is moved.")

Direction = Literal["in", "out", "local"]
Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Record:
    """One line: a message that came (`in`) or left (`out`), or something done here (`local`)."""

    time: str
    """UTC, ISO 8601."""
    kind: str
    direction: Direction
    size: int
    """Bytes; 0 where nothing travelled."""
    hash: str
    """Hex SHA-256 of the bytes; empty where nothing travelled."""
    detail: Mapping[str, Fact]
    """Facts about the message, none about the data."""


class AuditLog:
    """One party's log, for appending.

    Parameters: `owner` names the party, and the first line fixes it; `clock` gives the time in UTC.
    Raises: UsageError if the file cannot be opened or is another party's; DataError if it is damaged.
    """

    def __init__(
        self, path: Path, owner: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._header: Entry = {"format": FORMAT, "owner": owner}
        self._clock = clock
        # One open file is one lock to the system, so threads need another.
        self._lock = threading.Lock()
        self._path = path
        self._closed = False
        self._chain = HashChain(path, AUDIT_LOG)
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        """Everything in a chain that was just opened."""
        with self._chain.turn():
            # One by one: whoever may ask has a say in how many there are.
            for number, entry in enumerate(self._chain.catch_up(self._header)):
                if number == 0:
                    _require_header(entry, self._header, self._path)
            self._begin()

    def record(
        self,
        kind: str,
        direction: Direction,
        size: int = 0,
        digest: bytes = b"",
        detail: Mapping[str, Fact] | None = None,
        sync: bool = True,
    ) -> bytes:
        """Append a record; it is on disk when this returns its head.

        Without `sync` it is written, and survives the process, but reaches the disk with the next record
        that is synced: for what nothing leaves after.

        Raises: RunError if it cannot be written: then nothing must leave, until there is room again;
        DataError if the file was damaged, replaced or cut meanwhile.
        """
        with self._lock:
            if self._chain.closed and not self._closed:
                self._reopen()
            return self._record(kind, direction, size, digest, detail, sync)

    def _reopen(self) -> None:
        """Go on after a write that failed. Raises as `record` does."""
        before, self._chain = self._chain.heads, HashChain(self._path, AUDIT_LOG)
        try:
            self._read()
            if self._chain.heads[: len(before)] != before:
                raise DataError(
                    f"{self._path.name} was replaced or cut while it was in use.", AUDIT_LOG.restore
                )
        except BaseException:
            self._chain.close()
            self._chain.heads = before
            raise

    def _record(
        self,
        kind: str,
        direction: Direction,
        size: int,
        digest: bytes,
        detail: Mapping[str, Fact] | None,
        sync: bool,
    ) -> bytes:
        with self._chain.turn():
            for _ in self._chain.catch_up(self._header):
                pass  # what other processes wrote
            self._begin()
            self._append(kind, direction, size, digest, detail or {}, sync)
            return self._chain.heads[-1]

    def _begin(self) -> None:
        """The first line of a new file, and a note of what was cut off an old one."""
        if not self._chain.heads:
            self._chain.append(self._header)
        torn, self._chain.torn = self._chain.torn, 0
        if torn:
            self._append("torn tail", "local", torn, b"", {})

    def _append(
        self,
        kind: str,
        direction: Direction,
        size: int,
        digest: bytes,
        detail: Mapping[str, Fact],
        sync: bool = True,
    ) -> None:
        time = self._clock().astimezone(UTC).isoformat(timespec="seconds")
        record = Record(time, kind, direction, size, digest.hex(), dict(detail))
        self._chain.append(dict(vars(record)), sync)

    def close(self) -> None:
        """A closed log records nothing."""
        self._closed = True
        self._chain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Traffic:
    """How many messages of one kind travelled, and their bytes."""

    messages: int = 0
    size: int = 0


def traffic(records: Iterable[Record], direction: Direction) -> dict[str, Traffic]:
    """What travelled in one direction, by kind of message, sorted."""
    sums: dict[str, Traffic] = {}
    for record in records:
        if record.direction == direction:
            before = sums.get(record.kind, Traffic())
            sums[record.kind] = Traffic(before.messages + 1, before.size + record.size)
    return dict(sorted(sums.items()))


def read_records(path: Path) -> list[Record]:
    """Every record of a log whose links hold; takes no lock, and leaves out an unfinished last line.

    Raises: UsageError if it cannot be read or is no audit log; DataError if it is damaged.
    """
    entries = [entry for entry, _ in read_chain(path, AUDIT_LOG)]
    if entries and entries[0].get("format") != FORMAT:
        raise UsageError(f"{path.name} is not an audit log of this version.")
    return [_read(entry, path, line) for line, entry in enumerate(entries[1:], start=2)]


def _read(entry: Mapping[str, Any], path: Path, line: int) -> Record:
    try:
        return Record(**entry)
    except TypeError:
        raise DataError(f"{path.name}, line {line}, is no record.", AUDIT_LOG.restore) from None


def _require_header(first: Entry, header: Entry, path: Path) -> None:
    if first != header:
        raise UsageError(f"{path.name} is not the audit log of {header['owner']}.", "Name another file.")

"""A site's attempt log on disk, in a hash-chained file: what it may never forget, whatever kills it."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Self

from sealora.privacy.chain import ChainKind, Entry, HashChain
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import DataError, RunError, SealoraError, UsageError

FORMAT = "sealora-attempts-2"
ATTEMPTS = ChainKind(
    "attempt log",
    "Do not restore an old copy: this site must get a new identity key by a change of the roster.",
)


class AttemptFile:
    """Holds the file's lock while it is open: two processes of one site would break their promises.

    A record that could not be written allows nothing. The file is then opened again, as by a restart of
    the site, so that it goes on when the disk has room.

    Raises: RefusedError if another process has it open; UsageError if it cannot be opened or is another
    site's; DataError if it is damaged.
    """

    def __init__(self, path: Path, identity: bytes) -> None:
        self._path = path
        self._header: Entry = {"format": FORMAT, "identity": identity.hex()}
        self._closed = False
        self._chain = HashChain(path, ATTEMPTS)
        self._known = 0
        try:
            self.log = AttemptLog(self._catch_up(), self._append)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the lock back; nothing can be promised any more."""
        self._closed = True
        self._chain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, record: bytes) -> None:
        if self._chain.closed and not self._closed:
            self._reopen()
            # What is in the file now may forbid what was allowed before.
            raise RunError(f"{self._path.name} had to be opened again.", "Nothing is released.")
        try:
            # As text: the log hashes a record's very bytes.
            self._chain.append({"record": record.decode()})
            self._known += 1
        except RunError:
            if not self._closed:
                with suppress(SealoraError):
                    self._reopen()
            raise

    def _reopen(self) -> None:
        """Take up what reached the file of a record that could not be written. Raises SealoraError."""
        self._chain = HashChain(self._path, ATTEMPTS)
        try:
            for record in self._catch_up():
                self.log.restore(record)
        except BaseException:
            self._chain.close()
            raise

    def _catch_up(self) -> list[bytes]:
        """The records that are not in the log yet, of a chain that was just opened."""
        try:
            self._chain.lock()
            entries = list(self._chain.catch_up(self._header))
            if not entries:
                self._chain.append(self._header)
            elif entries[0]["format"] != FORMAT:
                raise UsageError(
                    f"{self._path} was written by another version of Sealora.",
                    "Go on with that version, or get a new identity key by a change of the roster.",
                )
            elif entries[0] != self._header:
                raise UsageError(f"{self._path} is the attempt log of another site.", "Name this site's.")
            records = [_record(entry) for entry in entries[1:]]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{self._path.name} is damaged.", ATTEMPTS.restore) from None
        if len(records) < self._known:
            raise DataError(f"{self._path.name} was cut while it was in use.", ATTEMPTS.restore)
        fresh, self._known = records[self._known :], len(records)
        return fresh


def _record(entry: Entry) -> bytes:
    record = str(entry["record"]).encode()
    json.loads(record)
    return record

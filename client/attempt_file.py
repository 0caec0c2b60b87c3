"""A site's attempt log on disk, in a hash-chained file: what it may never forget, whatever kills it."""

import json
from pathlib import Path
from typing import Self

from sealora.privacy.chain import ChainKind, Entry, HashChain
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import DataError, UsageError

FORMAT = "sealora-attempts-1"
ATTEMPTS = ChainKind(
    "attempt log",
    "Do not restore an old copy: this site must get a new identity key by a change of the roster.",
)


class AttemptFile:
    """Holds the file's lock while it is open: two processes of one site would break their promises.

    Raises: RefusedError if another process has it open; UsageError if it cannot be opened or is another
    site's; DataError if it is damaged.
    """

    def __init__(self, path: Path, identity: bytes) -> None:
        self._chain = HashChain(path, ATTEMPTS)
        header: Entry = {"format": FORMAT, "identity": identity.hex()}
        try:
            self._chain.lock()
            entries = list(self._chain.catch_up(header))
            if not entries:
                self._chain.append(header)
            elif entries[0] != header:
                raise UsageError(f"{path} is the attempt log of another site.", "Name this site's.")
            self.log = AttemptLog(map(_record, entries[1:]), self._append)
        except (KeyError, TypeError, ValueError):
            self.close()
            raise DataError(f"{path.name} is damaged.", ATTEMPTS.restore) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the lock back; nothing can be promised any more."""
        self._chain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, record: bytes) -> None:
        # As text: the log hashes a record's very bytes.
        self._chain.append({"record": record.decode()})


def _record(entry: Entry) -> bytes:
    record = str(entry["record"]).encode()
    json.loads(record)
    return record

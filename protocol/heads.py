"""What the coordinator remembers of the heads that sites sign: no log and no ledger goes back.

The rule is here, the storage is the caller's, as with `attempts.AttemptLog`. A head with fewer records
than before, or as many and another hash, is one of an older copy, or of a history that was written anew.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from sealora.protocol.attempts import NO_RECORDS, Head, in_memory
from sealora.protocol.errors import ProtocolError


class HeadBook:
    """The last heads of every site's attempt log, by identity key, and of its privacy ledger, by name."""

    def __init__(self, records: Iterable[bytes] = (), append: Callable[[bytes], None] = in_memory) -> None:
        self._logs: dict[str, Head] = {}
        self._ledgers: dict[str, Head] = {}
        self._refused: dict[str, str] = {}
        self._append = append
        for record in records:
            self._apply(json.loads(record))

    def note(self, site: str, public: bytes, log: Head, ledger: Head) -> None:
        """Write down what a site signed.

        Raises ProtocolError("restored") if either goes back, and from then on whatever the site signs:
        an old copy that has been written on looks like an honest history.
        """
        if site not in self._refused:
            before = self._logs.get(public.hex(), NO_RECORDS), self._ledgers.get(site, NO_RECORDS)
            reason = _gone_back("log", before[0], log) or _gone_back("ledger", before[1], ledger)
            self._write(site=site, key=public.hex(), log=_plain(log), ledger=_plain(ledger), refused=reason)
        if self._refused.get(site):
            raise ProtocolError("restored", f"the {self._refused[site]} of {site}")

    def _write(self, **fields: object) -> None:
        self._append(json.dumps(fields, separators=(",", ":")).encode())
        self._apply(fields)

    def _apply(self, fields: dict[str, Any]) -> None:
        if fields["refused"]:
            self._refused[fields["site"]] = fields["refused"]
            return
        self._logs[fields["key"]] = _head(fields["log"])
        self._ledgers[fields["site"]] = _head(fields["ledger"])


def _gone_back(what: str, before: Head, now: Head) -> str:
    """What is wrong with a head after another one; empty if nothing is."""
    if now.count < before.count:
        return f"{what} went back from {before.count} records to {now.count}"
    if now.count == before.count and now.digest != before.digest:
        return f"{what} has {now.count} records as before, but other ones"
    return ""


def _plain(head: Head) -> list[object]:
    return [head.count, head.digest.hex()]


def _head(plain: list[Any]) -> Head:
    return Head(plain[0], bytes.fromhex(plain[1]))

"""A site that charges and releases until it is killed; run as a script by test_ledger_kills.py.

usage: ledger_child.py LEDGER RELEASES MODE COUNT

MODE `write` kills after COUNT bytes written to either file, within a write if need be; `sync` kills
instead of the COUNT-th fsync; `async` never does, and prints a line for every release.
"""

import os
import signal
import sys
from pathlib import Path

from sealora.privacy.events import Budget, Event, GaussianRelease
from sealora.privacy.ledger import ChargeKey, Ledger


class Counting:
    """ε is the number of events: nothing heavy to import."""

    name = "counting"
    relation = "add-remove"

    def epsilon(self, events: list[Event], delta: float) -> float:
        return len(events)

    def delta(self, events: list[Event], epsilon: float) -> float:
        return 0.0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(mode: str, count: int) -> None:
    write, sync = os.write, os.fsync
    left = count

    def counted_write(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left <= len(data):
            write(descriptor, data[:left])
            die()
        left -= len(data)
        return write(descriptor, data)

    def counted_sync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            die()
        sync(descriptor)

    if mode == "write":
        os.write = counted_write
    elif mode == "sync":
        os.fsync = counted_sync


def main(ledger_path: str, releases_path: str, mode: str, count: str) -> None:
    releases = os.open(releases_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    arm(mode, int(count))
    with Ledger(Path(ledger_path), "notes", "record", Counting()) as ledger:
        for attempt in range(len(ledger.charges), 10_000):
            ledger.charge(ChargeKey("run", 0, attempt), GaussianRelease(1), Budget(1e6, 1e-5))
            os.write(releases, b"%08d\n" % attempt)
            if mode == "async":
                sys.stdout.write("released\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

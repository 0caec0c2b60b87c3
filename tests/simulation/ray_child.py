"""Simulates a plan on Ray, kills one of its actors after the first round, and tells how many there were.

A process of its own: Ray's driver leaves warnings behind that the test suite would take for failures.
"""

import os
import signal
import sys
from pathlib import Path

import sealora
from sealora.server.store import CheckpointStore

ACTOR = b"ray::ClientAppActor"


def processes(mark: str) -> dict[int, bytes]:
    """The command of every live process that has this value in its environment, by its number."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
    return found


def main() -> None:
    plan, out, mark = sys.argv[1:]
    save, killed = CheckpointStore.save, []

    def save_and_kill(store, checkpoint):
        save(store, checkpoint)
        if checkpoint.round == 1:
            actors = [number for number, command in processes(mark).items() if command.startswith(ACTOR)]
            os.kill(actors[0], signal.SIGKILL)
            killed.append(len(actors))

    CheckpointStore.save = save_and_kill
    sealora.simulate(plan, out)
    print("actors", *killed)


if __name__ == "__main__":
    main()

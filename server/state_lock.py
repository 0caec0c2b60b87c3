"""One coordinator at a time on a state folder: a lock that ends with its owner, however that ends."""

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from sealora.protocol.errors import RefusedError, RunError, UsageError

NAME = "lock"
TRIES = 100
PAUSE_SECONDS = 0.01
"""Between two tries to read whose the lock is: its owner has it a moment before it says so."""


class StateLock:
    """Held from construction until `close`. The file says who holds it, for `server stop`.

    Raises: RefusedError if another process holds it, RunError if that does not say who it is; UsageError
    if the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be used ({error.strerror}).", "Choose another --state."
            ) from None
        if not _try_lock(self._descriptor):
            os.close(self._descriptor)
            raise RefusedError(
                f"another coordinator (process {owner(folder)}) works on {folder}.",
                "Stop it with `sealora server stop`, or choose another --state.",
            )
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Let another have it, which is not to be taken for this one."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def owner(folder: Path) -> int | None:
    """The process that holds a folder's lock; None if nobody does. Raises RunError if it does not say."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR)
    except OSError:
        return None
    try:
        for _ in range(TRIES):
            if _try_lock(descriptor):
                return None
            said = os.pread(descriptor, 20, 0)
            if said.isdigit() and int(said):  # others are no process to a signal, but many
                return int(said)
            time.sleep(PAUSE_SECONDS)
    finally:
        os.close(descriptor)
    raise RunError(f"{folder / NAME} does not say which process holds it.", "Try again.")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

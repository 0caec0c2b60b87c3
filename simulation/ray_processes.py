"""The processes of a Ray that this process has started, and their end (Linux; elsewhere none are found).

`ray.shutdown` ends Ray's servers and returns; its workers notice that later, each by itself.
"""

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
POLL = 0.05


@dataclass(frozen=True)
class Process:
    """One process; numbers are used again, a number and a start are not."""

    number: int
    started: str
    parent: int

    @property
    def alive(self) -> bool:
        """Whether it still runs; one that has ended and waits for its parent does not."""
        return _read(self.number) == self


def ray_processes() -> list[Process]:
    """The servers that this process has started, and all processes that come from them."""
    everything, programs = list(_all()), _programs()
    family = [one for one in everything if one.parent == os.getpid() and programs in _command(one.number)]
    for one in family:  # which grows meanwhile
        family += [child for child in everything if child.parent == one.number]
    return family


def await_end(processes: list[Process], seconds: float) -> None:
    """Wait for them to end, and kill what has not ended by then."""
    end = time.monotonic() + seconds
    while any(process.alive for process in processes) and time.monotonic() < end:
        time.sleep(POLL)
    for process in processes:
        if process.alive:
            with suppress(ProcessLookupError):
                os.kill(process.number, signal.SIGKILL)


def _all() -> Iterator[Process]:
    if PROC.is_dir():
        numbers = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
        yield from (found for found in map(_read, numbers) if found is not None)


def _read(number: int) -> Process | None:
    """A live process by its number; see proc(5), /proc/PID/stat."""
    try:
        state, parent, *rest = (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state == "Z" else Process(number, rest[17], int(parent))


def _programs() -> bytes:
    """Stands in the command of every process that Ray's driver starts: the folder of Ray's package."""
    found = importlib.util.find_spec("ray")
    assert found is not None, "nobody has started a Ray that is not installed"
    assert found.origin is not None
    return os.fsencode(Path(found.origin).parent) + b"/"


def _command(number: int) -> bytes:
    try:
        return (PROC / str(number) / "cmdline").read_bytes()
    except OSError:
        return b""

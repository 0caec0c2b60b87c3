"""Runs a command and measures its whole process tree: wall-clock seconds and peak memory (Linux).

Memory is the proportional set size (PSS): a page that several processes map counts in equal shares,
so that neither shared libraries nor Ray's shared object store count more than once.
"""

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.5
"""Seconds between two samples of memory."""
GRACE = 15
"""Seconds that children may take to end after their parent."""
LAST_LINES = 30


@dataclass(frozen=True)
class Measured:
    """Of one command."""

    seconds: float
    peak_pss: int
    """Bytes: the largest sum over the tree in any sample."""
    left_behind: int
    """Processes that outlived the command and had to be stopped."""


class ProcessTree:
    """A process and all the descendants it was ever seen with, those it orphaned included."""

    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self._known = {self._root}

    def pss(self) -> int:
        """Bytes of all members now."""
        with suppress(psutil.NoSuchProcess):
            self._known.update(self._root.children(recursive=True))
        return sum(_pss(process) for process in self._known)

    def stop_rest(self) -> int:
        """End what still runs after `GRACE`; returns how many that were."""
        descendants = [process for process in self._known if process != self._root]
        _, alive = psutil.wait_procs(descendants, timeout=GRACE)
        for process in alive:
            _end(process)
        _, stubborn = psutil.wait_procs(alive, timeout=GRACE)
        for process in stubborn:
            _end(process, kill=True)
        return len(alive)


def measure(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Measured:
    """Run a command to its end, its output in `log`. Raises RuntimeError with its last lines if it fails.

    Memory is sampled every `INTERVAL` seconds, so that a shorter peak can be missed.
    """
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT)
        tree = ProcessTree(process.pid)
        try:
            peak = _watch(process, tree)
            seconds = time.perf_counter() - start
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            left_behind = tree.stop_rest()
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        raise RuntimeError("\n".join([f"{command[0]} ended with {process.returncode}:", *lines]))
    return Measured(seconds, peak, left_behind)


def _watch(process: "subprocess.Popen[bytes]", tree: ProcessTree) -> int:
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree.pss())
        try:
            process.wait(INTERVAL)
        except subprocess.TimeoutExpired:
            continue
    return peak


def _pss(process: psutil.Process) -> int:
    """Bytes; 0 for a process that has ended or that the system hides."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _end(process: psutil.Process, kill: bool = False) -> None:
    """psutil refuses to signal another process that was given the same number."""
    with suppress(psutil.NoSuchProcess):
        if kill:
            process.kill()
        else:
            process.terminate()

"""The most memory that a process, also another one, takes from one moment on (Linux)."""

import os
from pathlib import Path

KIB = 1024


class Watch:
    """From its making on; `pid` None is this process."""

    def __init__(self, pid: int | None) -> None:
        self._folder = Path("/proc") / str(pid or os.getpid())
        (self._folder / "clear_refs").write_text("5")  # the peak is counted anew
        self._before = self._resident("VmRSS")

    def growth(self) -> int:
        """Bytes of resident memory at the peak beyond those at the beginning."""
        return self._resident("VmHWM") - self._before

    def _resident(self, field: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith(f"{field}:"))
        return int(line.split()[1]) * KIB

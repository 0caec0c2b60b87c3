"""The session that is open, on disk: a coordinator that is killed goes on with it where it was."""

from pathlib import Path

from sealora.plan.durable import write_durably


class SessionFile:
    """One file, replaced whole. What it holds is the sessions' affair."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, state: bytes) -> None:
        """Keep a state; on disk before this returns. Raises OSError if the disk refuses."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._path, state)

    def load(self) -> bytes | None:
        """The last state; None if there is none."""
        return self._path.read_bytes() if self._path.exists() else None

    def of_group(self, number: int) -> "SessionFile":
        """The file of one fixed group's session, beside this one."""
        return SessionFile(self._path.with_stem(f"{self._path.stem}-group-{number}"))

"""A site's memory between rounds: prepared with an upload, committed when that is known to be in a sum."""

from pathlib import Path

from sealora.models.adapter import pack, unpack
from sealora.plan.durable import write_durably
from sealora.strategies.strategy import Memory


class SiteMemory:
    """Named tensors in a folder: `committed.safetensors` and one prepared file for each open attempt.

    A prepared memory takes effect only when a later header says that its attempt is the last one that
    this site was part of the sum of, so what was lost or late leaves the memory as it was. Files are
    written whole and renamed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of_run(self, run: bytes) -> "SiteMemory":
        """The memory of one run, in a folder of its own: another run begins without any."""
        return SiteMemory(self._folder / run.hex())

    def read(self) -> Memory:
        """The committed memory; empty at first. Raises ModelError if the file was damaged."""
        path = self._folder / "committed.safetensors"
        return unpack(path.read_bytes()) if path.exists() else {}

    def prepare(self, round_number: int, attempt: int, memory: Memory) -> None:
        """Keep a memory aside until its attempt is known to have completed."""
        if memory or self._folder.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_durably(self._prepared(round_number, attempt), pack(memory))

    def commit(self, contributed: tuple[int, int], completed: int) -> None:
        """Make the memory prepared for that (round, attempt) the committed one, if it is not yet.

        Forget all others that were prepared up to the round that is completed: they are in no sum.
        """
        path = self._prepared(*contributed)
        if path.exists():
            path.replace(self._folder / "committed.safetensors")
        for other in self._folder.glob("prepared-*.safetensors"):
            if int(other.stem.split("-")[1]) <= completed:
                other.unlink()

    def _prepared(self, round_number: int, attempt: int) -> Path:
        return self._folder / f"prepared-{round_number:06d}-{attempt:03d}.safetensors"

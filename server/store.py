"""The coordinator's checkpoint: one atomic step from a finished round to the next."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sealora.models.adapter import pack, unpack
from sealora.plan.durable import write_durably
from sealora.protocol.errors import UsageError
from sealora.server.events import Evaluated, GroupRecord, RoundRecord
from sealora.strategies.strategy import State

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """All that a restarted coordinator needs to go on as if it had never stopped."""

    run: bytes
    """Random id of the run, 16 bytes."""
    plan_hash: bytes
    state: State = field(repr=False)
    history: tuple[RoundRecord, ...] = ()

    @property
    def round(self) -> int:
        """The last finished round; 0 at the start."""
        return self.history[-1].round if self.history else 0

    @property
    def transcript(self) -> bytes:
        """What the session of the completed attempt agreed on; empty at the start and in plain sessions."""
        return bytes.fromhex(self.history[-1].transcript) if self.history else b""

    @property
    def completed(self) -> tuple[int, int]:
        """(round, attempt) whose sum became the state; (0, 0) at the start."""
        return (self.history[-1].round, self.history[-1].attempt) if self.history else (0, 0)

    def contributed(self, cohort: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """For each site, the (round, attempt) that it was last part of the sum of; (0, 0) for none."""
        last: dict[str, tuple[int, int]] = {}
        for record in self.history:
            for one in record.groups or (record,):
                last |= dict.fromkeys(one.contributors, (record.round, one.attempt))
        return tuple(last.get(site, (0, 0)) for site in cohort)

    def completed_together(self, cohort: Collection[str]) -> tuple[tuple[int, int], bytes]:
        """The last (round, attempt) of a group with all these sites that yielded a sum, and its transcript.

        (0, 0) and nothing where there is none, as after sites have changed groups.
        """
        for record in reversed(self.history):
            for group in record.groups:
                if set(cohort) <= set(group.cohort):
                    return (record.round, group.attempt), bytes.fromhex(group.transcript)
        return (0, 0), b""


class CheckpointStore:
    """A folder with `progress.json`, the tensors it names, and `attempt.json`: the last one opened.

    A checkpoint takes effect when `progress.json` is renamed into place, after the tensors it names
    have reached the disk; a crash before leaves the previous checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint durably, then remove older tensors. Raises OSError if the disk refuses."""
        self._folder.mkdir(parents=True, exist_ok=True)
        tensors = pack(checkpoint.state)
        name = f"round-{checkpoint.round:06d}.safetensors"
        write_durably(self._folder / name, tensors)
        progress = {
            "format": FORMAT,
            "run": checkpoint.run.hex(),
            "plan_hash": checkpoint.plan_hash.hex(),
            "tensors": name,
            "sha256": hashlib.sha256(tensors).hexdigest(),
            "history": [asdict(record) for record in checkpoint.history],
        }
        write_durably(self._folder / "progress.json", json.dumps(progress, indent=1).encode())
        for old in self._folder.glob("round-*.safetensors"):
            if old.name != name:
                old.unlink()

    def save_evaluation(self, round_number: int, evaluated: Evaluated) -> None:
        """Keep what was measured on the model after that round, where measuring again would cost privacy."""
        content = {"round": round_number, **asdict(evaluated)}
        write_durably(self._folder / "evaluation.json", json.dumps(content).encode())

    def evaluation(self, round_number: int) -> Evaluated | None:
        """What was measured on the model after that round, if it was kept. Raises UsageError if damaged."""
        path = self._folder / "evaluation.json"
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text())
            if content.pop("round") != round_number:
                return None
            return Evaluated(**{**content, "contributors": tuple(content["contributors"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{path} cannot be read.", "Start again in a new folder.") from None

    def open_attempt(self, round_number: int) -> int:
        """The number of a fresh attempt of that round, from 1; on disk before this returns.

        Sites answer a number once, and they may outlive a coordinator that is restarted amid a round.
        Raises OSError if the disk refuses, UsageError if the file was damaged.
        """
        path = self._folder / "attempt.json"
        try:
            last = json.loads(path.read_text()) if path.exists() else {"round": 0, "attempt": 0}
            attempt = last["attempt"] + 1 if last["round"] == round_number else 1
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path} cannot be read.", "Start again in a new folder.") from None
        write_durably(path, json.dumps({"round": round_number, "attempt": attempt}).encode())
        return attempt

    def load(self) -> Checkpoint | None:
        """The last checkpoint, or None if there is none. Raises UsageError if it was damaged."""
        path = self._folder / "progress.json"
        if not path.exists():
            return None
        try:
            return self._parse(json.loads(path.read_text()), path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"the checkpoint {path} cannot be read ({type(error).__name__}).",
                "Start again in a new folder.",
            ) from None

    def _parse(self, progress: Mapping[str, Any], path: Path) -> Checkpoint:
        if progress["format"] != FORMAT:
            raise UsageError(
                f"the checkpoint {path} has format {progress['format']}, this version reads {FORMAT}.",
                "Resume with the version of Sealora that began the run.",
            )
        tensors = (self._folder / progress["tensors"]).read_bytes()
        if hashlib.sha256(tensors).hexdigest() != progress["sha256"]:
            raise UsageError(
                f"the checkpoint's tensors beside {path} were changed.", "Start again in a new folder."
            )
        return Checkpoint(
            run=bytes.fromhex(progress["run"]),
            plan_hash=bytes.fromhex(progress["plan_hash"]),
            state=unpack(tensors),
            history=tuple(_record(raw) for raw in progress["history"]),
        )


def _record(raw: Mapping[str, Any]) -> RoundRecord:
    groups = tuple(GroupRecord(**_with_tuples(group)) for group in raw.get("groups", ()))
    return RoundRecord(**{**_with_tuples(raw), "groups": groups})


def _with_tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}

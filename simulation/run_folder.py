"""The run folder, format 1: what a run leaves behind, and where.

run.json                 format, versions, when it was begun
plan.toml                the plan with every default written out: simulate it to repeat the run
adapter/                 the result in PEFT format
result.json              metrics, bytes, seconds, hashes
metrics.jsonl            one line a round
events.jsonl             one line an event
learning_curve.png, split.png
tensorboard/             the same figures for TensorBoard
state/                   checkpoint, site memories, privacy ledgers, finished comparisons
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealora.models import lora
from sealora.models.adapter import Adapter, AdapterLayout
from sealora.plan.durable import write_durably
from sealora.plan.loader import Plan
from sealora.plan.writer import dumps
from sealora.protocol.errors import UsageError

FORMAT = 1
BEGUN = frozenset({"lock", "plan.toml", "plan.toml.partial", "run.json.partial"})
"""What may be there before a folder counts as a run's: `run.json` is written last."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run's files; `create` and `open` check what is there."""

    path: Path

    @classmethod
    def create(cls, path: Path, plan: Plan, versions: dict[str, str]) -> "RunFolder":
        """A new run folder. Raises UsageError if something is there already."""
        if path.exists() and (not path.is_dir() or any(item.name not in BEGUN for item in path.iterdir())):
            raise UsageError(
                f"{path} is not empty.", "Choose another --out, or add --resume to go on with the run in it."
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"{path} cannot be made ({error.strerror}).", "Choose another --out.") from None
        folder = cls(path)
        folder.write_plan(plan)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        folder.write_json("run.json", {"format": FORMAT, "began": began, "versions": versions})
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """A folder that holds a run. Raises UsageError if it does not, or is of another format."""
        run = path / "run.json"
        try:
            form = json.loads(run.read_text())["format"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(
                f"{path} holds no run.", "Name the folder that `sealora simulate --out` made."
            ) from None
        if form != FORMAT:
            raise UsageError(
                f"{path} has run-folder format {form}, this version reads {FORMAT}.",
                "Use the version of Sealora that made it.",
            )
        return cls(path)

    @property
    def plan(self) -> Plan:
        """The plan of the run, every default written out. Raises PlanError if it was damaged."""
        return Plan.from_text(self._read("plan.toml"), str(self.path / "plan.toml"))

    @property
    def adapter(self) -> Path:
        """The result in PEFT format."""
        return self.path / "adapter"

    def load_adapter(self, layout: AdapterLayout) -> Adapter:
        """The result. Raises ModelError if there is none, UsageError if it is not what this run made."""
        adapter = lora.load(layout, self.adapter)
        if adapter.sha256() != self.result["adapter_sha256"]:
            raise UsageError(
                f"the adapter in {self.adapter} is not the one that this run made.",
                "Restore the run folder, or load the adapter with peft.",
            )
        return adapter

    @property
    def state(self) -> Path:
        """Checkpoint, site memories and privacy ledgers."""
        return self.path / "state"

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json. Raises UsageError if the run is not finished."""
        if not (self.path / "result.json").exists():
            raise UsageError(
                f"the run in {self.path} is not finished.", "Go on with `sealora simulate --resume`."
            )
        try:
            result: dict[str, Any] = json.loads(self._read("result.json"))
        except ValueError:
            raise self._damaged("result.json") from None
        return result

    def write_plan(self, plan: Plan) -> None:
        """Write the plan of the run: of one that has no checkpoint yet."""
        write_durably(self.path / "plan.toml", dumps(plan).encode())

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file whole."""
        write_durably(self.path / name, json.dumps(content, indent=2).encode() + b"\n")

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text()
        except (OSError, UnicodeDecodeError):
            raise self._damaged(name) from None

    def _damaged(self, name: str) -> UsageError:
        return UsageError(f"{self.path / name} is missing or damaged.", "Restore it, or repeat the run.")

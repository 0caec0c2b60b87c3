"""Runs through Python: start one, load a finished one, predict and evaluate with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import Adapter
from sealora.models.base import Base, load_base
from sealora.models.cleaning import CleaningReport, clean
from sealora.models.settings import DataSettings
from sealora.models.table import read_table
from sealora.models.task import Task, load_task
from sealora.plan.loader import Plan, load
from sealora.protocol.errors import UsageError
from sealora.simulation.run_folder import RunFolder
from sealora.simulation.simulate import simulate as run_simulation
from sealora.strategies.registry import load_strategy


def simulate(
    plan: Plan | str | Path,
    out: str | Path,
    *,
    rounds: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    compare: bool = False,
    engine: Literal["local", "ray"] | None = None,
    console: Console | None = None,
) -> "Run":
    """Run a plan's sites and coordinator; returns the finished run.

    Parameters: `plan` is a Plan or the path of one; `out` a folder that is new or empty, unless
    `resume`; `rounds` and `seed` replace the plan's; `compare` also trains each site alone and all
    data pooled; `engine` replaces the plan's: sites train in this process, or in actors of Ray, for which
    the extra `simulation` must be installed; `console` shows progress (nothing is printed by default).
    Raises: PlanError, DataError, ModelError or UsageError before anything is started; RunError if a
    round cannot be completed (finished rounds are kept, `resume` goes on).
    """
    plan = plan if isinstance(plan, Plan) else load(plan)
    changes: dict[str, object] = {}
    if rounds is not None:
        changes["rounds"] = {"count": rounds}
    if seed is not None:
        changes["seed"] = seed
    if engine is not None:
        changes["simulation"] = {"engine": engine}
    plan = plan.replace(**changes) if changes else plan
    run_simulation(plan, Path(out), resume=resume, with_comparison=compare, console=console)
    return Run.load(out)


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder."""

    folder: RunFolder
    plan: Plan
    result: dict[str, Any]
    """The content of result.json."""

    @classmethod
    def load(cls, path: str | Path) -> "Run":
        """Read a run folder. Raises UsageError if it holds no finished run."""
        folder = RunFolder.open(Path(path))
        return cls(folder, folder.plan, folder.result)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the final model on all sites' test rows."""
        metrics: dict[str, float] = self.result["metrics"]
        return metrics

    @property
    def adapter_path(self) -> Path:
        """The adapter in PEFT format: `peft.PeftModel.from_pretrained(base, path)` loads it."""
        return self.folder.adapter

    def predict(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """One prediction for each text: label and scores. Raises ModelError if the base cannot be had."""
        if not texts:
            return []
        examples = [self.task.prompt(text, self._base.tokenizer) for text in texts]
        return self._trainer.predict(self._adapter.tensors, examples)

    def evaluate(self, data: str | Path, **columns: Any) -> "Evaluation":
        """Metrics on a labelled file or folder; `columns` replaces keys of the plan's [data].

        Raises DataError if the table cannot be used.
        """
        unused = dict.fromkeys(("filter_column", "filter_value", "group_column"), "")
        chosen = {**self.plan.data.model_dump(), **unused, **columns}
        settings = DataSettings(**chosen)
        table = read_table(settings, self.task.card.columns(settings), str(data))
        rows, report = clean(table, settings, self.task, self._base.tokenizer)
        sums = self._trainer.evaluate(self._adapter.tensors, [row.example for row in rows])
        totals = {name: counts.astype(float) for name, counts in sums.items()}
        return Evaluation(self.task.metrics(totals), self.task.tables(totals), report)

    @cached_property
    def task(self) -> Task:
        """What the model has learnt to do."""
        return load_task(self.plan.task)

    @cached_property
    def _base(self) -> Base:
        return load_base(self.plan.model, self.task)

    @cached_property
    def _trainer(self) -> TorchTrainer:
        return TorchTrainer(self._base, self.task, self.plan.lora, self.plan.training, self.plan.rounds.count)

    @cached_property
    def _adapter(self) -> Adapter:
        personal = load_strategy(self.plan.strategy).layout(self._trainer.layout, 1).of_kind("personal")
        if personal:
            raise UsageError(
                f"with {self.plan.strategy.name} every site has a model of its own, so there is none to use.",
                "The strategy is for research: result.json has what each site measured with its own model.",
            )
        return self.folder.load_adapter(self._trainer.layout)


@dataclass(frozen=True)
class Evaluation:
    """How a run's model does on a table: metrics, details, and what cleaning dropped."""

    metrics: dict[str, float]
    tables: dict[str, Any]
    report: CleaningReport

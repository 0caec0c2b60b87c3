"""Comparisons through Python: strategies side by side on the same splits, over several seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sealora.plan.loader import Plan, load
from sealora.protocol.errors import UsageError
from sealora.simulation.contenders import read_contenders
from sealora.simulation.strategy_comparison import compare_strategies


def compare(
    plan: Plan | str | Path,
    strategies: Sequence[str],
    out: str | Path,
    *,
    seeds: int = 5,
    rounds: int | None = None,
    rows: int | None = None,
    console: Console | None = None,
) -> "Comparison":
    """Run several strategies on the same rows and splits, over seeds; returns the finished comparison.

    Parameters: `plan` is a Plan or the path of one; `strategies` are names, perhaps with keys that differ
    from the plan, such as "fedprox:mu=0.1" or "scaffold:training.optimizer=sgd", "all" is every other, and
    the first is the one that the others are compared with; `out` a folder that is new or holds a
    comparison, which then goes on; `seeds` counts from the plan's; `rounds` and `rows` replace the plan's;
    `console` shows progress (nothing is printed by default).
    A strategy that the plan cannot be combined with is refused in the result and does not stop the others,
    and so does a run that fails.
    Raises: PlanError, DataError, ModelError or UsageError for what cannot be started.
    """
    if seeds < 1:
        raise UsageError(f"a comparison needs at least one seed, not {seeds}.")
    plan = plan if isinstance(plan, Plan) else load(plan)
    changes: dict[str, object] = {}
    if rounds is not None:
        changes["rounds"] = {"count": rounds}
    if rows is not None:
        changes["data"] = {"rows": rows}
    plan = plan.replace(**changes) if changes else plan
    compare_strategies(read_contenders(plan, strategies), seeds, Path(out), console)
    return Comparison.load(out)


@dataclass(frozen=True)
class Comparison:
    """A finished comparison, read from its folder."""

    path: Path
    result: dict[str, Any]
    """The content of result.json."""

    @classmethod
    def load(cls, path: str | Path) -> "Comparison":
        """Read the folder of a comparison. Raises UsageError if it holds no finished one."""
        try:
            result = json.loads((Path(path) / "result.json").read_text())
            if "strategies" not in result:
                raise KeyError
        except (OSError, ValueError, KeyError):
            raise UsageError(
                f"{path} holds no finished comparison.", "Make one with `sealora compare`."
            ) from None
        return cls(Path(path), result)

    def __getitem__(self, strategy: str) -> dict[str, Any]:
        """The figures of a strategy, by the label that it has in the table. Raises KeyError."""
        figures: dict[str, Any] = {row["strategy"]: row for row in self.result["strategies"]}[strategy]
        return figures

    @property
    def failures(self) -> int:
        """Runs that did not come to their end; refused strategies have none."""
        return sum(len(row["failed"]) for row in self.result["strategies"])

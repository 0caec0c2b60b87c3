"""Strategies side by side: each in a run of its own for every seed, on the same rows and splits.

The folder of a comparison, format 1:

comparison.json          format, and when it was begun
runs/STRATEGY/seed-N/    the run folder of each cell
result.json              the table with its intervals, and the figures of every cell
strategies.csv           a line for each strategy
cells.csv                a line for each strategy and seed
comparison.png           differences by strategy, and learning curves

A finished cell is not run again, and an interrupted one goes on after its last finished round: the same
call, or one with more strategies or seeds, goes on where the last one was.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sealora.plan.durable import write_durably
from sealora.plan.loader import Plan
from sealora.protocol.errors import PlanError, RefusedError, RunError, UsageError
from sealora.server.events import Event, RoundDone, RunStarted
from sealora.simulation.comparison_account import composed_account
from sealora.simulation.contenders import Contender, require_first
from sealora.simulation.report import divergence
from sealora.simulation.run_folder import RunFolder
from sealora.simulation.simulate import require_same, simulate
from sealora.simulation.strategy_figures import Cell, build_result, failed_cell, finished_cell
from sealora.simulation.strategy_report import save_picture, write_tables

FORMAT = 1


def compare_strategies(
    contenders: Sequence[Contender], seeds: int, out: Path, console: Console | None = None
) -> dict[str, Any]:
    """Run every contender with so many seeds, from the plan's on, and leave everything in `out`.

    Returns the content of result.json. The first contender is the one that the others are compared with.
    One that turns out to be impossible with the model or the data is refused like those refused before; a
    cell whose run fails is left out of the figures, with the reason, and tried again by the next call.
    Under a privacy guarantee the result tells what all runs in `out` cost together.
    Raises UsageError if the first is refused, ledgers are to outlive the runs, or `out` holds something else
    or runs of another plan; DataError and ModelError for what no contender can use.
    """
    _require_own_ledgers(contenders)
    _open(out)
    refused = {one.label: one.refused for one in contenders if one.plan is None}
    plans = {one.label: one.plan for one in contenders if one.plan is not None}
    cells: list[Cell] = []
    with _Progress(console or Console(quiet=True), plans, seeds) as progress:
        # Seed by seed, so that an interrupted comparison has compared something.
        for number in range(seeds):
            for label in [label for label in plans if label not in refused]:
                plan = plans[label].replace(seed=plans[label].seed + number)
                try:
                    cells.append(_cell(out, label, plan, progress))
                except PlanError as error:
                    refused[label] = str(error)
                    require_first(contenders[0].label, refused)
                    progress.tell(label, f"refused: {error}")
    result = build_result([one.label for one in contenders], cells, refused)
    result["privacy"] = composed_account(out / "runs", next(iter(plans.values())))
    write_durably(out / "result.json", json.dumps(result, indent=2).encode() + b"\n")
    write_tables(result, out)
    save_picture(out / "comparison.png", result)
    return result


def _require_own_ledgers(contenders: Sequence[Contender]) -> None:
    """Every seed deals the rows anew, and a ledger pays for its site's rows alone. Raises UsageError."""
    if any(one.plan is not None and one.plan.simulation.ledgers for one in contenders):
        raise UsageError(
            "simulation.ledgers cannot pay for a comparison, whose runs deal the rows to sites anew.",
            "Remove it: the result tells what all runs cost together, to be counted beside those ledgers.",
        )


def _open(folder: Path) -> None:
    """Make a new folder, or check one that holds a comparison. Raises UsageError for any other."""
    marker = folder / "comparison.json"
    if not marker.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not empty, and holds no comparison.", "Choose another --out.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(
                f"{folder} cannot be made ({error.strerror}).", "Choose another --out."
            ) from None
        began = datetime.now(UTC).isoformat(timespec="seconds")
        write_durably(marker, json.dumps({"format": FORMAT, "began": began}).encode() + b"\n")
    try:
        form = json.loads(marker.read_text())["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{marker} is damaged.", "Choose another --out.") from None
    if form != FORMAT:
        raise UsageError(
            f"{folder} has comparison format {form}, this version reads {FORMAT}.", "Choose another --out."
        )


def cell_folder(folder: Path, label: str, seed: int) -> Path:
    """Where the run of a cell is; different labels have different folders."""
    return folder / "runs" / quote(label.replace(":", ",", 1), safe="=,") / f"seed-{seed}"


def _cell(out: Path, label: str, plan: Plan, progress: "_Progress") -> Cell:
    """Run a cell, or read it if it is finished. Raises PlanError if its plan cannot be run."""
    path = cell_folder(out, label, plan.seed)
    if (path / "result.json").exists():
        folder = RunFolder.open(path)
        require_same(folder.plan, plan, path)
        cell = _finished(label, folder.result)
        progress.finish(plan.rounds.count)
        return cell
    progress.begin(label, plan.seed)
    try:
        cell = _finished(label, simulate(plan, path, resume=True, observers=(progress,)))
    except (RunError, RefusedError) as error:
        cell = failed_cell(label, plan.seed, str(error))
    progress.finish(plan.rounds.count)
    progress.tell(label, cell.describe())
    return cell


def _finished(label: str, result: Mapping[str, Any]) -> Cell:
    """The cell of a run that came to its end; where training diverged, its figures mean nothing."""
    reason = divergence(result)
    return failed_cell(label, result["seed"], reason) if reason else finished_cell(label, result)


@dataclass
class _Progress:
    """A bar over the rounds of all cells, and a line for each cell that was run."""

    console: Console
    plans: Mapping[str, Plan]
    seeds: int

    def __post_init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} rounds"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        rounds = sum(plan.rounds.count for plan in self.plans.values())
        self._task: TaskID = self._bar.add_task("Comparing", total=rounds * self.seeds)
        self._done = self._cells = 0

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, label: str, seed: int) -> None:
        """A cell begins."""
        self._bar.update(self._task, description=escape(f"{label}, seed {seed}"))

    def notify(self, event: Event) -> None:
        """Count the rounds of the cell that runs, those before an interruption included."""
        if isinstance(event, RunStarted):
            self._bar.update(self._task, completed=self._done + len(event.history))
        elif isinstance(event, RoundDone):
            self._bar.update(self._task, completed=self._done + event.record.round)

    def finish(self, rounds: int) -> None:
        """A cell is over, whether all its rounds were run or not."""
        self._done += rounds
        self._cells += 1
        self._bar.update(self._task, completed=self._done)

    def tell(self, label: str, text: str) -> None:
        """What became of a cell."""
        line = f"{self._cells}/{len(self.plans) * self.seeds}  {label}  {text}"
        self._bar.console.print(line, markup=False, soft_wrap=True)

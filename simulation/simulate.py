"""A whole simulated run: from a plan to a run folder."""

import platform
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from sealora.models import lora
from sealora.models.cleaning import REASONS, CleaningReport, words
from sealora.plan.contract import resolved
from sealora.plan.loader import Plan
from sealora.protocol.errors import UsageError
from sealora.protocol.fleet import Fleet
from sealora.server.events import Observer
from sealora.server.loop import Coordinator
from sealora.server.metrics_log import EventLog, MetricsLog
from sealora.server.progress import ProgressBar
from sealora.server.recorder import Recorder
from sealora.server.store import CheckpointStore
from sealora.server.tensorboard import TensorBoardLog
from sealora.simulation.account import run_id
from sealora.simulation.compare import Comparison, compare
from sealora.simulation.engines import OpenFleet, open_fleet, require_engine
from sealora.simulation.faults import Faults
from sealora.simulation.federation import Federation, assemble
from sealora.simulation.report import build_result, save_learning_curve
from sealora.simulation.run_folder import RunFolder
from sealora.simulation.split_picture import save_split_picture, split_table

PLACES = {
    "model": ("device",),
    "simulation": ("engine", "ray_address", "actor_cpus", "actor_gpus", "workers"),
}
"""Keys that say where a run computes, by section: it may go on somewhere else."""
PACKAGES = ("sealora", "torch", "transformers", "peft", "numpy", "cryptography")


def simulate(
    plan: Plan,
    out: Path,
    *,
    resume: bool = False,
    with_comparison: bool = False,
    console: Console | None = None,
    fleet_of: OpenFleet = open_fleet,
    observers: Sequence[Observer] = (),
) -> dict[str, Any]:
    """Run a plan's sites and coordinator and leave everything in `out`.

    `fleet_of` opens the fleet; by default that of the plan's engine. `observers` are told of every event,
    beside those that write the run folder. Returns the content of result.json. Raises UsageError before
    anything is started, RunError if a round cannot be completed; finished rounds are then kept and `resume`
    goes on after them.
    """
    console = console or Console(quiet=True)
    if with_comparison and plan.privacy.private:
        raise UsageError(
            "a comparison trains on the sites' rows without privacy, which would break the plan's promise.",
            "Leave out --compare, or compare in a run without a guarantee.",
        )
    require_engine(plan)
    known = versions()
    folder = _folder(plan, out, resume, known)
    with console.status("Starting") as status:
        federation = assemble(plan, folder.state, lambda what: status.update(what))
    _show_split(federation, folder, console)
    recorder = Recorder()
    with ExitStack() as stack:
        faults = Faults(plan.simulation, plan.seed)
        with console.status("Starting") as status:
            fleet = stack.enter_context(fleet_of(federation, faults, lambda what: status.update(what)))
        bar = stack.enter_context(ProgressBar(console, federation.task.headline))
        log, events = MetricsLog(folder.path / "metrics.jsonl"), EventLog(folder.path / "events.jsonl")
        board = TensorBoardLog(folder.path / "tensorboard")
        coordinator = _coordinator(federation, folder, fleet, (recorder, log, events, board, bar, *observers))
        adapter, evaluated = coordinator.run()
    lora.save(adapter, federation.model, folder.adapter)
    comparison = _compare(federation, folder, console) if with_comparison else None
    result = build_result(
        federation, adapter, recorder.history, evaluated, comparison, known, run_id(folder.state)
    )
    result["stopped"] = recorder.stopped
    save_learning_curve(folder.path / "learning_curve.png", result)
    folder.write_json("result.json", result)
    return result


def versions() -> dict[str, str]:
    """Versions that decide a run's numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def _folder(plan: Plan, out: Path, resume: bool, known: dict[str, str]) -> RunFolder:
    if resume and (out / "run.json").exists():
        folder = RunFolder.open(out)
        require_same(folder.plan, plan, out)
        return folder
    return RunFolder.create(out, plan, known)


def require_same(begun: Plan, plan: Plan, out: Path) -> None:
    """Raises UsageError unless a run goes on with its plan, the sites' too; only where it is may change."""
    sections = [name for name, value in resolved(plan).items() if _other(name, value, resolved(begun)[name])]
    if sections:
        raise UsageError(
            f"the run in {out} is of another plan: it differs in {', '.join(sections)}.",
            "Resume with the plan and the options that it began with, or choose a new --out.",
        )


def _other(name: str, value: Any, begun: Any) -> bool:
    moved = dict.fromkeys(PLACES.get(name, ()), "")
    return {**value, **moved} != {**begun, **moved} if moved else bool(value != begun)


def _coordinator(
    federation: Federation, folder: RunFolder, fleet: Fleet, observers: tuple[Observer, ...]
) -> Coordinator:
    return Coordinator(
        plan=federation.plan,
        plan_hash=federation.contract.plan_hash,
        task=federation.task,
        strategy=federation.contract.strategy,
        initial=federation.initial,
        fleet=fleet,
        store=CheckpointStore(folder.state),
        sessions=federation.sessions,
        observers=observers,
        measure_public=federation.measure_public,
    )


def _show_split(federation: Federation, folder: RunFolder, console: Console) -> None:
    labels, counts = federation.plan.task.labels, federation.label_counts()
    console.print(split_table(counts, labels))
    save_split_picture(folder.path / "split.png", counts, labels)
    for name, kind in sorted(federation.plan.simulation.attackers.items()):
        console.print(f"[red]{escape(name)}[/] is malicious: {kind}")
    if not federation.workshop.rows.at_once:
        return  # rows are cleaned when their site first works; result.json then tells
    for name, site in federation.sites.items():
        for warning in site.data.report.warnings:
            console.print(f"[yellow]{escape(name)}[/]: {escape(warning)}")
    dropped = _dropped([site.data.report for site in federation.sites.values()])
    if dropped:
        console.print(f"[yellow]Rows left out:[/] {dropped}. Where they stand is in result.json.")


def _dropped(reports: Sequence[CleaningReport]) -> str:
    """Rows of all sites that cleaning left out, by reason; empty if there are none."""
    counts: Counter[str] = sum((Counter(report.dropped) for report in reports), Counter())
    order = [*REASONS, *sorted(set(counts) - set(REASONS))]
    return ", ".join(f"{counts[reason]} {words(reason)}" for reason in order if counts[reason])


def _compare(federation: Federation, folder: RunFolder, console: Console) -> Comparison:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Comparing", total=2 * len(federation.train_rows))

        def tell(name: str, rows: int) -> None:
            progress.update(task, advance=rows)
            if not console.is_terminal:
                console.print(f"Compared with: {escape(name)} ({rows} rows)")

        console.print("Training each site alone, and all data pooled, to compare.")
        return compare(federation, folder.state / "compare", tell)

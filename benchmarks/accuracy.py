"""What federating costs against pooling all data, and what it gains against each site alone.

    python benchmarks/accuracy.py [--quick] [--out runs/benchmark-accuracy]

The example plan with seeds 1, 2, …: a seed decides the rows, the sites, the held-out rows and the
first adapter, and within a seed all contestants share them. Every model is measured on all sites'
held-out rows together. Each seed has a run folder; a finished one is not run again, an interrupted
one goes on where it was.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairs import json_line, machine, t_interval, table
from rich.console import Console
from seeds import parse_seeds

import sealora
from sealora.plan.loader import Plan, load
from sealora.simulation.run_folder import RunFolder

EXAMPLE = Path(__file__).parents[1] / "examples" / "sentiment" / "plan.toml"
COLUMNS = ("federated", "pooled", "mean_alone", "weighted_alone", "best_alone")


@dataclass(frozen=True)
class Accuracies:
    """Of one seed. `weighted_alone` weighs each site's own model with its training rows."""

    federated: float
    pooled: float
    mean_alone: float
    weighted_alone: float
    best_alone: float

    def cells(self) -> list[str]:
        """The accuracies as text, in the order of `COLUMNS`."""
        return [f"{getattr(self, column):.4f}" for column in COLUMNS]


def run_seed(plan: Plan, folder: Path, console: Console) -> Accuracies:
    """The accuracies of a plan's run, from its folder if it is finished there."""
    if (folder / "run.json").exists():
        _check_same_plan(plan, folder)
    if (folder / "result.json").exists():
        run = sealora.Run.load(folder)
    else:
        run = sealora.simulate(plan, folder, resume=True, compare=True, console=console)
    return accuracies(run)


def accuracies(run: sealora.Run) -> Accuracies:
    """Reads a run's result, which must hold a comparison."""
    comparison, sites = run.result["comparison"], run.result["sites"]
    alone = {name: metrics["accuracy"] for name, metrics in comparison["alone"].items()}
    rows = {name: sites[name]["train_rows"] for name in alone}
    return Accuracies(
        federated=run.metrics["accuracy"],
        pooled=comparison["pooled"]["accuracy"],
        mean_alone=statistics.fmean(alone.values()),
        weighted_alone=sum(alone[name] * rows[name] for name in alone) / sum(rows.values()),
        best_alone=max(alone.values()),
    )


def _check_same_plan(plan: Plan, folder: Path) -> None:
    """A folder of another plan would be silently mistaken for this one's. Raises SystemExit."""
    if RunFolder.open(folder).plan.model_dump() != plan.model_dump():
        raise SystemExit(f"{folder} holds a run of another plan: delete it, or choose another --out.")


def difference_figures(name: str, differences: Sequence[float]) -> dict[str, float]:
    """Mean of paired differences in percentage points and, from two on, its 95 % interval."""
    points = [100 * difference for difference in differences]
    figures = {f"{name}_points": statistics.fmean(points)}
    if len(points) > 1:
        figures[f"{name}_points_low"], figures[f"{name}_points_high"] = t_interval(points)
    return figures


def figures(found: Sequence[Accuracies]) -> dict[str, float]:
    """Mean accuracies over the seeds, and federated minus each other, paired by seed."""
    named = {f"accuracy_{c}": statistics.fmean(getattr(a, c) for a in found) for c in COLUMNS}
    for column in COLUMNS[1:]:
        differences = [a.federated - getattr(a, column) for a in found]
        named |= difference_figures(f"federated_minus_{column}", differences)
    return named


def report(seeds: Sequence[int], found: Sequence[Accuracies]) -> str:
    """The table by seed, and the differences with their intervals."""
    named = figures(found)
    rows = [(str(seed), *a.cells()) for seed, a in zip(seeds, found, strict=True)]
    rows.append(("mean", *(f"{named[f'accuracy_{column}']:.4f}" for column in COLUMNS)))
    lines = [table(("seed", *COLUMNS), rows)]
    for column in COLUMNS[1:]:
        key = f"federated_minus_{column}_points"
        interval = (
            f"95 % interval {named[f'{key}_low']:+.2f} to {named[f'{key}_high']:+.2f}"
            if f"{key}_low" in named
            else "no interval from one seed"
        )
        lines.append(f"federated minus {column}: {named[key]:+.2f} points ({interval})")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Federated against pooled and alone, over paired seeds.")
    return parse_seeds(parser, "accuracy", "one seed, 400 reviews, one round")


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    plan = load(EXAMPLE)
    if chosen.quick:
        plan = plan.replace(data={"rows": 400}, rounds={"count": 1})
    seeds = range(1, chosen.seeds + 1)
    console = Console(stderr=True)
    found = [run_seed(plan.replace(seed=s), chosen.out / f"seed-{s}", console) for s in seeds]
    print(report(seeds, found))
    print(json_line("accuracy", figures(found)))


if __name__ == "__main__":
    main()

"""Whether preference tuning raises the margin between answers on pairs that were held out.

    python benchmarks/preference.py [--quick] [--seeds N] [--out runs/benchmark-preference]

Four sites tune the bundled SmolLM2 on the bundled preference pairs. A seed decides the pairs, the sites,
the held-out pairs and the first adapter. Before training the model is its own reference, so that every
margin is zero and every pair a tie: figures are of the final model, on all sites' held-out pairs. Each
seed has a run folder; a finished one is not run again, an interrupted one goes on where it was.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from pairs import json_line, machine, t_interval, table
from rich.console import Console
from seeds import parse_seeds

import sealora
from sealora.plan.loader import Plan, load

PLAN = Path(__file__).with_name("preference.toml")
COLUMNS = ("loss", "margin", "accuracy", "chosen_reward", "rejected_reward")


def run_seed(plan: Plan, folder: Path, console: Console) -> dict[str, float]:
    """The final metrics of a plan's run, from its folder if it is finished there."""
    run = sealora.simulate(plan, folder, resume=True, console=console)
    return run.metrics


def figures(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over the seeds and, from two on, the margin's 95 % interval."""
    named = {column: statistics.fmean(metrics[column] for metrics in found) for column in COLUMNS}
    margins = [metrics["margin"] for metrics in found]
    if len(margins) > 1:
        named["margin_low"], named["margin_high"] = t_interval(margins)
    return named


def report(seeds: Sequence[int], found: Sequence[dict[str, float]]) -> str:
    """The table by seed, and the margin's interval."""
    named = figures(found)
    rows = [(str(seed), *_cells(metrics)) for seed, metrics in zip(seeds, found, strict=True)]
    lines = [table(("seed", *COLUMNS), [*rows, ("mean", *_cells(named))])]
    if "margin_low" in named:
        low, high = named["margin_low"], named["margin_high"]
        lines.append(
            f"margin: {named['margin']:+.4f} (95 % interval {low:+.4f} to {high:+.4f}), 0 before training"
        )
    return "\n".join(lines)


def _cells(metrics: dict[str, float]) -> list[str]:
    return [f"{metrics[column]:.4f}" for column in COLUMNS]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The margin between answers after preference tuning.")
    return parse_seeds(parser, "preference", "one seed, 16 pairs of 48 tokens, one round", seeds=3)


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    plan = load(PLAN)
    if chosen.quick:
        plan = plan.replace(data={"rows": 16}, rounds={"count": 1}, task={"max_length": 48})
    seeds = range(1, chosen.seeds + 1)
    console = Console(stderr=True)
    found = [run_seed(plan.replace(seed=s), chosen.out / f"seed-{s}", console) for s in seeds]
    print(report(seeds, found))
    print(json_line("preference", figures(found)))


if __name__ == "__main__":
    main()

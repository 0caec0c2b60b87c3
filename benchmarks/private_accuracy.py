"""What privacy costs in accuracy: the frontier of ε and trained values, and five seeds of the example.

    python benchmarks/private_accuracy.py [--only seeds frontier] [--quick] [--out runs/benchmark-private]

All 8,530 rotten_tomatoes reviews at eight equal sites. A seed decides which tenth of them is held out, the
first adapter and the sites; within a seed all contestants share them. The private ones train as
`examples/private-sentiment` does, the others without clipping and noise as one would (AdamW in batches of 16,
the step size falling along a cosine). The step size of LoRA of rank 8 without privacy was chosen on seed 0,
which is not among those measured, and serves the other kinds with A and B too; the private ones are from
single runs on another division of the same rows, with all sites as one.

Every run has a folder; a finished one is not run again. What the frozen layers make of a text is computed for
the first run that meets it, and shared by all: accuracies do not depend on it.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accuracy import difference_figures
from frozen_states import shared_states
from pairs import json_line, machine, t_interval, table
from rich.console import Console

import sealora
from sealora.models.table import read_table, seeded_order
from sealora.plan.loader import Plan, load

EXAMPLE = Path(__file__).parents[1] / "examples" / "private-sentiment" / "plan.toml"
HELD_OUT = 10
"""One row in so many is held out."""
OPEN = "open"
"""The contestant without privacy, ε = ∞."""
EPSILONS = ("1", "3", "8", OPEN)
Settings = Mapping[str, Mapping[str, Any]]
KINDS: dict[str, Settings] = {
    "head": {"lora": {"rank": 0}},
    "frozen_a": {"lora": {"rank": 8, "alpha": 128.0}, "strategy": {"name": "ffa", "options": {"beta": 0.9}}},
    "lora_2": {"lora": {"rank": 2, "alpha": 32.0}},
    "lora_8": {"lora": {"rank": 8, "alpha": 128.0}},
}
"""What is trained: always the head, and of the last layer's query and value A and B, or B alone."""
RATES: dict[str, dict[str, float]] = {
    "head": {"1": 2.0, "3": 2.0, "8": 2.0, OPEN: 3e-3},
    "frozen_a": {"1": 2.5, "3": 5.0, "8": 5.0, OPEN: 5e-3},
    "lora_2": {"1": 2.5, "3": 5.0, "8": 5.0, OPEN: 5e-3},
    "lora_8": {"1": 2.0, "3": 4.0, "8": 4.0, OPEN: 5e-3},
}
"""Step sizes by kind and ε."""
WITHOUT: Settings = {
    "privacy": {
        "guarantee": "none",
        "epsilon": 0.0,
        "delta": 0.0,
        "sampling_rate": 0.0,
        "expected_batch": 0.0,
        "steps_per_round": 0,
    },
    "training": {"optimizer": "adamw", "schedule": "cosine", "warmup_fraction": 0.0, "batch_size": 16},
    "rounds": {"count": 4},
    "strategy": {"weighting": "examples"},
}
"""The plan without its promise, and training as one would without."""


def split(plan: Plan, seed: int, folder: Path) -> tuple[Path, Path]:
    """Tables of a seed's rows to train on and of those held out, written once."""
    train, test = folder / "train.csv", folder / "test.csv"
    if not test.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = read_table(plan.data, ("text_column", "label_column"))
        order = seeded_order(len(rows), "held out", seed).tolist()
        held_out = len(rows) // HELD_OUT
        rows.select(order[held_out:]).to_csv(train)
        rows.select(order[:held_out]).to_csv(test)
    return train, test


def contestant(plan: Plan, kind: str, epsilon: str, rate: float) -> Plan:
    """The plan of one cell of the frontier."""
    changes = WITHOUT if epsilon == OPEN else {"privacy": {"epsilon": float(epsilon)}}
    return plan.replace(**KINDS[kind]).replace(**changes).replace(training={"learning_rate": rate})


def accuracy(plan: Plan, kind: str, epsilon: str, seed: int, out: Path, rate: float = 0.0) -> float:
    """Accuracy on a seed's held-out rows."""
    rate = rate or RATES[kind][epsilon]
    train, test = split(plan, seed, out / f"seed-{seed}")
    folder = out / f"seed-{seed}" / f"{kind}-{epsilon}-{rate:g}"
    if (folder / "result.json").exists():
        run = sealora.Run.load(folder)
    else:
        data = {"path": str(train), "filter_column": "", "filter_value": "", "rows": 0}
        cell = contestant(plan.replace(seed=seed, data=data), kind, epsilon, rate)
        run = sealora.simulate(cell, folder, resume=True, console=Console(quiet=True))
    found: float = run.evaluate(test).metrics["accuracy"]
    print(f"seed {seed}, {kind}, ε = {epsilon}, step size {rate:g}: {found:.4f}", flush=True)
    return found


def seeds_part(plan: Plan, seeds: Sequence[int], out: Path) -> dict[str, float]:
    """The example at ε = 8 beside the same adapter without privacy, paired by seed."""
    pairs = [[accuracy(plan, "lora_8", epsilon, seed, out) for epsilon in ("8", OPEN)] for seed in seeds]
    kept = [private / public for private, public in pairs]
    figures = {
        "accuracy_private": statistics.fmean(private for private, _ in pairs),
        "accuracy_open": statistics.fmean(public for _, public in pairs),
        "private_over_open": statistics.fmean(kept),
        **difference_figures("private_minus_open", [private - public for private, public in pairs]),
    }
    if len(kept) > 1:
        figures["private_over_open_low"], figures["private_over_open_high"] = t_interval(kept)
    rows = [
        [str(seed), *(f"{value:.4f}" for value in pair), f"{ratio:.3f}"]
        for seed, pair, ratio in zip(seeds, pairs, kept, strict=True)
    ]
    print(table(("seed", "ε = 8", "no privacy", "kept"), rows))
    return figures


def frontier_part(plan: Plan, seeds: Sequence[int], out: Path) -> dict[str, float]:
    """Mean accuracies over ε and what is trained."""
    figures, rows = {}, []
    for epsilon in EPSILONS:
        cells = []
        for kind in KINDS:
            found = [accuracy(plan, kind, epsilon, seed, out) for seed in seeds]
            figures[f"accuracy_{kind}_epsilon_{epsilon}"] = statistics.fmean(found)
            cells.append(f"{statistics.fmean(found):.4f} ({min(found):.3f} to {max(found):.3f})")
        rows.append([f"ε = {epsilon}", *cells])
    print(table(("", *KINDS), rows))
    return figures


PARTS = {"seeds": seeds_part, "frontier": frontier_part}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Accuracy under record-level privacy.")
    parser.add_argument("--quick", action="store_true", help="800 reviews, one seed, the example only")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--seeds", type=int, help="paired seeds of the example (5; quick 1)")
    parser.add_argument("--frontier-seeds", type=int, default=3, help="seeds of each cell (3)")
    parser.add_argument("--try-rates", nargs="+", type=float, metavar="RATE", help="on seed 0, and stop")
    parser.add_argument("--kind", choices=list(KINDS), nargs="+", default=list(KINDS), help="to try")
    parser.add_argument("--epsilon", choices=EPSILONS, nargs="+", default=["8"], help="to try")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-private"), help="folder of the runs")
    chosen = parser.parse_args()
    print(machine(), flush=True)
    plan, out = load(EXAMPLE), chosen.out
    rows = 800 if chosen.quick else 8530
    if chosen.quick:
        plan, out = plan.replace(data={"rows": rows}), out.with_name(out.name + "-quick")
    share = rows * (1 - 1 / HELD_OUT) / plan.simulation.sites
    plan = plan.replace(privacy={"expected_batch": float(round(plan.privacy.sampling_rate * share))})
    if chosen.try_rates:
        for kind in chosen.kind:
            for epsilon in chosen.epsilon:
                for rate in chosen.try_rates:
                    accuracy(plan, kind, epsilon, 0, out, rate)
        return
    named: dict[str, float] = {}
    for name in ["seeds"] if chosen.quick else chosen.only:
        count = (chosen.seeds or (1 if chosen.quick else 5)) if name == "seeds" else chosen.frontier_seeds
        named |= PARTS[name](plan, range(1, count + 1), out)
    print(json_line("private_accuracy", named))


if __name__ == "__main__":
    with shared_states():
        main()

"""Two malicious sites of fifteen on the example's reviews: the mean, and the median over sums of groups.

    python benchmarks/poisoning.py [--quick] [--attack sign_flip] [--out runs/benchmark-poisoning]

The example plan with 15 equal sites, 1,500 reviews and 4 rounds, secure aggregation throughout. The two
attackers are in different groups of three and send −20 times their update (`--attack` and `--scale` name
others). Within a seed rows, sites, held-out rows and first adapter are the same; seeds are 1, 2, …. A
finished run is not run again, an interrupted one goes on where it was.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from accuracy import EXAMPLE
from pairs import json_line, machine, table
from precision import run_codec
from rich.console import Console

from sealora.plan.loader import Plan, load
from sealora.plan.settings import Attack
from sealora.protocol.groups import fixed_groups

SITES, GROUPS = 15, 5
NAMES = [f"site-{number:02d}" for number in range(1, SITES + 1)]
MEAN: dict[str, Any] = {"name": "fedavg", "weighting": "examples"}
MEDIAN: dict[str, Any] = {
    "name": "median",
    "weighting": "examples",
    "options": {"groups": GROUPS, "attackers": 2},
}
ARMS = {
    "mean": (MEAN, False),
    "groups": (MEDIAN, False),
    "mean_attacked": (MEAN, True),
    "groups_attacked": (MEDIAN, True),
}


def attackers(seed: int, attack: str) -> dict[str, str]:
    """One member each of two groups: the worst that two attackers can do."""
    first, second, *_ = fixed_groups(seed, NAMES, GROUPS)
    return {first[0]: attack, second[0]: attack}


def run_seed(plan: Plan, seed: int, attack: str, out: Path, console: Console) -> dict[str, float]:
    """Accuracy of each arm."""
    found = {}
    for name, (strategy, attacked) in ARMS.items():
        malicious = {"attackers": attackers(seed, attack)} if attacked else {}
        arm = plan.replace(seed=seed, strategy=strategy, simulation=malicious)
        folder = out / f"seed-{seed}-{name}{f'-{attack}' * attacked}"
        found[name] = run_codec(arm, folder, console).metrics["accuracy"]
        print(f"seed {seed} {name}: {found[name]:.4f}", flush=True)
    return found


def figures(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean accuracies, and what the attacked arms keep of the mean's accuracy without attackers."""
    named = {f"accuracy_{name}": statistics.fmean(by[name] for by in found) for name in ARMS}
    for name in ("mean_attacked", "groups_attacked"):
        kept = [by[name] / by["mean"] for by in found]
        named |= {f"kept_{name}": statistics.fmean(kept), f"kept_{name}_least": min(kept)}
    return named


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What two malicious sites of fifteen do to a model.")
    parser.add_argument("--quick", action="store_true", help="one seed, 300 reviews, one round")
    parser.add_argument("--attack", default="sign_flip", choices=get_args(Attack))
    parser.add_argument("--scale", type=float, default=20.0, help="of the attack")
    parser.add_argument("--seeds", type=int, help="how many seeds, from 1 (3; quick 1)")
    parser.add_argument("--out", type=Path, help="folder of the runs (runs/benchmark-poisoning[-quick])")
    chosen = parser.parse_args()
    chosen.seeds = chosen.seeds or (1 if chosen.quick else 3)
    chosen.out = chosen.out or Path("runs") / f"benchmark-poisoning{'-quick' * chosen.quick}"
    return chosen


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    rows, rounds = (300, 1) if chosen.quick else (1500, 4)
    plan = load(EXAMPLE).replace(
        data={"rows": rows},
        rounds={"count": rounds},
        training={"label_calibration": 0.0, "schedule": "constant"},
        secure_aggregation={"colluders": 0},
        simulation={"sites": SITES, "partition": "iid", "attack_scale": chosen.scale},
    )
    console, seeds = Console(stderr=True), range(1, chosen.seeds + 1)
    found = [run_seed(plan, seed, chosen.attack, chosen.out, console) for seed in seeds]
    rows_of = [
        (str(seed), *(f"{by[name]:.4f}" for name in ARMS)) for seed, by in zip(seeds, found, strict=True)
    ]
    print(table(("seed", *ARMS), rows_of))
    print(json_line("poisoning", figures(found)))


if __name__ == "__main__":
    main()

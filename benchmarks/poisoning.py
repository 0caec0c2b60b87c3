"""Two malicious sites of fifteen on the example's reviews: the mean, and the median over sums of groups.

    python benchmarks/poisoning.py [--quick] [--attacks sign_flip,nan] [--out runs/benchmark-poisoning]

The example plan with 15 equal sites, 1,500 reviews, 5 rounds of 5 epochs at a rate of 0.02, and rank 0: the
head alone is trained, so what the frozen MiniLM makes of a text is computed once and kept. Secure
aggregation throughout. The two attackers are in different groups of three. Within a seed rows, sites,
held-out rows and first head are the same; seeds are 1, 2, …. A finished run is not run again.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import torch
from accuracy import EXAMPLE
from pairs import json_line, machine, table
from precision import run_codec
from rich.console import Console
from seeds import parse_seeds

from sealora.models.batch import Batch
from sealora.models.classification import Classification
from sealora.plan.loader import Plan, load
from sealora.plan.settings import Attack
from sealora.protocol.errors import RunError
from sealora.protocol.groups import fixed_groups

SITES, GROUPS = 15, 5
NAMES = [f"site-{number:02d}" for number in range(1, SITES + 1)]
MEAN: dict[str, Any] = {"name": "fedavg", "weighting": "examples"}
MEDIAN: dict[str, Any] = {
    "name": "median",
    "weighting": "examples",
    "options": {"groups": GROUPS, "attackers": 2},
}
FEATURES: dict[tuple[int, ...], torch.Tensor] = {}
"""What the frozen base makes of a text."""


def forward(self: Classification, model: Any, batch: Batch) -> torch.Tensor:
    """Logits, as `Classification.forward` has them where only the head is trained."""
    base, keys = model.get_base_model(), []
    for ids in batch.inputs["input_ids"]:
        row = ids[ids != base.config.pad_token_id]
        keys.append(tuple(row.tolist()))
        if keys[-1] not in FEATURES:
            with torch.no_grad():
                FEATURES[keys[-1]] = base.bert(row[None], torch.ones_like(row)[None]).pooler_output[0].clone()
    logits: torch.Tensor = base.classifier(torch.stack([FEATURES[key] for key in keys]))
    return logits


def attackers(seed: int, attack: str) -> dict[str, str]:
    """One member each of two groups: the worst that two attackers can do."""
    first, second, *_ = fixed_groups(seed, NAMES, GROUPS)
    return {first[0]: attack, second[0]: attack}


def accuracy(plan: Plan, folder: Path, console: Console) -> float:
    """Of a run's final model; 0 where the attack ends the run."""
    try:
        return float(run_codec(plan, folder, console).metrics["accuracy"])
    except RunError:
        return 0.0


def run_seed(plan: Plan, seed: int, attacks: Sequence[str], out: Path, console: Console) -> dict[str, float]:
    """Accuracy of mean and groups, without attackers and under each attack."""
    found = {}
    for attack in ("none", *attacks):
        malicious = {} if attack == "none" else {"attackers": attackers(seed, attack)}
        for name, strategy in (("mean", MEAN), ("groups", MEDIAN)):
            arm = plan.replace(seed=seed, strategy=strategy, simulation=malicious)
            found[f"{name}_{attack}"] = accuracy(arm, out / f"seed-{seed}-{name}-{attack}", console)
    print(f"seed {seed}: {found}", flush=True)
    return found


def figures(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean accuracies, and what an arm keeps of the mean's without attackers: on average and at least."""
    named = {f"accuracy_{arm}": statistics.fmean(by[arm] for by in found) for arm in found[0]}
    for arm in found[0]:
        kept = [by[arm] / by["mean_none"] for by in found]
        named |= {f"kept_{arm}": statistics.fmean(kept), f"kept_{arm}_least": min(kept)}
    return named


def report(named: Mapping[str, float], attacks: Sequence[str]) -> str:
    """A row for each attack."""
    rows = []
    for attack in ("none", *attacks):
        cells = [f"{named[f'accuracy_{name}_{attack}']:.3f}" for name in ("mean", "groups")]
        kept = f"{named[f'kept_groups_{attack}']:.3f} ({named[f'kept_groups_{attack}_least']:.3f})"
        rows.append((attack, *cells, kept))
    return table(("attack", "mean", "median of groups", "kept by groups (least)"), rows)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What two malicious sites of fifteen do to a model.")
    parser.add_argument("--attacks", default=",".join(get_args(Attack)), help="of those, comma-separated")
    parser.add_argument("--scale", type=float, default=20.0, help="of the attacks that scale")
    return parse_seeds(parser, "poisoning", "one seed, 300 reviews, one round")


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    rows, rounds = (300, 2) if chosen.quick else (1500, 5)
    plan = load(EXAMPLE).replace(
        data={"rows": rows},
        lora={"rank": 0, "target_modules": []},
        rounds={"count": rounds, "attempts": 1},
        training={"epochs": 5, "learning_rate": 0.02, "label_calibration": 0.0, "schedule": "constant"},
        secure_aggregation={"colluders": 0},
        simulation={"sites": SITES, "partition": "iid", "attack_scale": chosen.scale, "workers": 1},
    )
    console, attacks = Console(stderr=True), [name for name in chosen.attacks.split(",") if name]
    with patch.object(Classification, "forward", forward):
        found = [run_seed(plan, seed, attacks, chosen.out, console) for seed in range(1, chosen.seeds + 1)]
    named = figures(found)
    print(report(named, attacks))
    print(json_line("poisoning", named))


if __name__ == "__main__":
    main()

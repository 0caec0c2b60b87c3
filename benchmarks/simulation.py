"""A simulated federation, beside Flower's Ray simulation of the same one on the same machine.

    python benchmarks/simulation.py [--quick]

Both train the example plan: the same rows, sites, first adapter, rounds, batches and learning rate,
each in a process of its own that is timed from start to end. Flower runs in both of the ways that
two cores allow, two actors of one thread and one actor of two threads, and the faster counts.
Ours evaluates the model at every site in every round as it always does; Flower once, at the end.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairs import Spread, interleave, json_line, machine, ratios, table
from process_tree import Measured, measure

from sealora.models import lora
from sealora.models.adapter import pack
from sealora.models.base import describe, load_base, locate
from sealora.models.cleaning import clean
from sealora.models.site_data import held_out_rows
from sealora.models.table import draw_rows, read_table
from sealora.models.task import Task, load_task
from sealora.plan.loader import Plan, load
from sealora.plan.writer import dumps
from sealora.simulation.partition import partition

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples" / "sentiment" / "plan.toml"
FLOWER = {"flower_two_actors": 2, "flower_one_actor": 1}
"""Actors by contestant; the two cores are shared out evenly among them."""
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
OURS = "import sys, sealora; sealora.simulate(sys.argv[1], sys.argv[2])"
THEIRS = "import flower_app; flower_app.run()"
MEGABYTE = 1e6
BATCH = 16


@dataclass(frozen=True)
class Outcome:
    """One run of one contestant."""

    measured: Measured
    accuracy: float


def write_workload(plan: Plan, folder: Path) -> None:
    """The plan for us; the same rows, sites, settings and first adapter for Flower."""
    task = load_task(plan.task)
    (folder / "plan.toml").write_text(dumps(plan))
    layout = describe(plan.model, plan.lora, plan.task)
    (folder / "initial.safetensors").write_bytes(pack(lora.initial_adapter(layout, plan.seed).tensors))
    workload = {
        "seed": plan.seed,
        "rounds": plan.rounds.count,
        "model": locate(plan.model),
        "labels": len(plan.task.labels),
        "max_length": plan.task.max_length,
        "lora": {
            "r": plan.lora.rank,
            "lora_alpha": plan.lora.alpha,
            "target_modules": list(plan.lora.target_modules),
        },
        "training": {
            "per_device_train_batch_size": plan.training.batch_size,
            "num_train_epochs": plan.training.epochs,
            "learning_rate": plan.training.learning_rate,
            "lr_scheduler_type": plan.training.schedule,
        },
        "sites": deal(plan, task),
    }
    (folder / "workload.json").write_text(json.dumps(workload))


def deal(plan: Plan, task: Task) -> list[dict[str, list[tuple[str, int]]]]:
    """Every site's (text, label) rows to train on and held out: those that our own run will use."""
    reviews = draw_rows(read_table(plan.data, task.card.columns(plan.data)), plan.data.rows, plan.seed)
    tokenizer = load_base(plan.model, task).tokenizer
    sites = []
    for name, indices in partition(reviews, plan.simulation, plan.data.label_column, plan.seed).items():
        share = reviews.select(indices)
        rows, _ = clean(share, plan.data, task, tokenizer)
        held_out = held_out_rows([row.label for row in rows], plan.data.test_fraction, plan.seed, name)
        texts = share[plan.data.text_column]
        parts: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
        for position, row in enumerate(rows):
            parts["test" if position in held_out else "train"].append((texts[row.index], row.example.target))
        sites.append(parts)
    return sites


def run_ours(folder: Path, pair: int) -> Outcome:
    """`sealora.simulate` in a process of its own."""
    out = folder / f"ours-{pair}"
    command = [sys.executable, "-P", "-c", OURS, str(folder / "plan.toml"), str(out)]
    measured = measure(command, {**os.environ, **QUIET}, folder / f"ours-{pair}.log")
    result = json.loads((out / "result.json").read_text())
    _check_same_split(result, json.loads((folder / "workload.json").read_text()))
    return Outcome(measured, result["metrics"]["accuracy"])


def run_flower(folder: Path, name: str, pair: int) -> Outcome:
    """Flower's simulation in a process of its own, with the files of Flower and Ray kept in `folder`."""
    environment = {
        **os.environ,
        **QUIET,
        "PYTHONPATH": str(HERE),
        "FLWR_HOME": str(folder / "flwr"),
        "RAY_TMPDIR": str(folder),
    }
    command = [sys.executable, "-P", "-c", THEIRS, str(folder), str(FLOWER[name])]
    measured = measure(command, environment, folder / f"{name}-{pair}.log")
    result = folder / "flower.json"
    accuracy = json.loads(result.read_text())["accuracy"]
    result.unlink()
    return Outcome(measured, accuracy)


def _check_same_split(result: Mapping[str, Any], workload: Mapping[str, Any]) -> None:
    ours = [(site["train_rows"], site["test_rows"]) for site in result["sites"].values()]
    theirs = [(len(site["train"]), len(site["test"])) for site in workload["sites"]]
    if ours != theirs:
        raise RuntimeError(f"the sites differ: {ours} rows here, {theirs} in Flower")


def compare(folder: Path, flower: list[str], pairs: int) -> dict[str, list[Outcome]]:
    """Outcomes of every contestant in every pair."""

    def told(name: str, run: Callable[[int], Outcome]) -> Callable[[int], Outcome]:
        def work(pair: int) -> Outcome:
            outcome = run(pair)
            measured = outcome.measured
            print(
                f"pair {pair + 1}: {name} {measured.seconds:.1f} s, {measured.peak_pss / MEGABYTE:.0f} MB, "
                f"accuracy {outcome.accuracy:.4f}, {measured.left_behind} processes left behind",
                flush=True,
            )
            return outcome

        return work

    runs = {"ours": told("ours", lambda pair: run_ours(folder, pair))}
    for name in flower:
        runs[name] = told(name, lambda pair, name=name: run_flower(folder, name, pair))
    return interleave(runs, pairs)


def seconds(outcomes: list[Outcome]) -> list[float]:
    return [outcome.measured.seconds for outcome in outcomes]


def megabytes(outcomes: list[Outcome]) -> list[float]:
    return [outcome.measured.peak_pss / MEGABYTE for outcome in outcomes]


def accuracies(outcomes: list[Outcome]) -> list[float]:
    return [outcome.accuracy for outcome in outcomes]


def faster(found: Mapping[str, list[Outcome]]) -> str:
    """The Flower configuration with the smaller median time."""
    return min((name for name in found if name != "ours"), key=lambda n: Spread.of(seconds(found[n])).median)


def figures(found: Mapping[str, list[Outcome]]) -> dict[str, float]:
    """The figures by name; `flower_ray` is the faster configuration."""
    ours, theirs = found["ours"], found[faster(found)]
    named = {
        "ratio_vs_flower_ray": Spread.of(ratios(seconds(theirs), seconds(ours))).median,
        "memory_vs_flower_ray": Spread.of(ratios(megabytes(ours), megabytes(theirs))).median,
        "accuracy_ours": Spread.of(accuracies(ours)).median,
        "accuracy_flower_ray": Spread.of(accuracies(theirs)).median,
    }
    for name, outcomes in {**found, "flower_ray": theirs}.items():
        named[f"seconds_{name}"] = Spread.of(seconds(outcomes)).median
        named[f"pss_megabytes_{name}"] = Spread.of(megabytes(outcomes)).median
    return named


def report(found: Mapping[str, list[Outcome]]) -> str:
    """The table, with the ratios of every Flower configuration."""
    lines = []
    for name, outcomes in found.items():
        slower = Spread.of(ratios(seconds(outcomes), seconds(found["ours"]))).text(2)
        larger = Spread.of(ratios(megabytes(outcomes), megabytes(found["ours"]))).text(2)
        own = name == "ours"
        lines.append(
            (
                name,
                Spread.of(seconds(outcomes)).text(1),
                "–" if own else slower,
                Spread.of(megabytes(outcomes)).text(0),
                "–" if own else larger,
                Spread.of(accuracies(outcomes)).text(4),
            )
        )
    return table(("contestant", "seconds", "over ours", "peak PSS, MB", "over ours", "accuracy"), lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A simulated federation beside Flower's Ray simulation.")
    parser.add_argument("--quick", action="store_true", help="600 rows, one round, one pair, two actors only")
    parser.add_argument("--rows", type=int, help="reviews in all (4000; quick 600)")
    parser.add_argument("--rounds", type=int, help="rounds (3; quick 1)")
    parser.add_argument("--pairs", type=int, help="runs of each contestant (2; quick 1)")
    parser.add_argument("--flower", choices=FLOWER, action="append", help="only this configuration")
    chosen = parser.parse_args()
    defaults = (600, 1, 1) if chosen.quick else (4000, 3, 2)
    for name, value in zip(("rows", "rounds", "pairs"), defaults, strict=True):
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    chosen.flower = chosen.flower or (["flower_two_actors"] if chosen.quick else list(FLOWER))
    return chosen


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    # Only what Trainer and Flower's FedAvg have too, and a constant step size, because Trainer's schedules
    # would start anew in each of Flower's calls.
    plan = load(EXAMPLE).replace(
        data={"rows": chosen.rows},
        rounds={"count": chosen.rounds},
        training={"schedule": "constant", "batch_size": BATCH, "label_calibration": 0.0},
        strategy={"weighting": "examples"},
    )
    with tempfile.TemporaryDirectory(prefix="sealora-") as name:
        folder = Path(name)
        write_workload(plan, folder)
        found = compare(folder, chosen.flower, chosen.pairs)
    print(f"{chosen.rows} rows, {plan.simulation.sites} sites, {chosen.rounds} rounds, {chosen.pairs} pairs")
    print(report(found))
    print(f"faster Flower configuration: {faster(found)}")
    print(json_line("simulation", figures(found)))


if __name__ == "__main__":
    main()

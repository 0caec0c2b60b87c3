"""DP-SGD, beside Opacus (hooks, and ghost clipping) and beside our own training without privacy.

    python benchmarks/privacy.py [--quick]

Same base, LoRA matrices, first values, head, clipping norm, noise multiplier, optimiser and rows of a
pass. Every pair draws Poisson batches once, and all contestants train on the same rows; the private ones
on the same batches. Opacus draws its noise from PyTorch's ordinary generator, because its secure mode
needs torchcsprng, which no longer installs; ours is from AES.

Seconds are CPU seconds on one thread, so that other work on the machine counts little. Peak memory is
that of a process of its own for each contestant, the loaded model included (Linux only).
"""

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pairs import Spread, interleave, json_line, machine, ratios, table
from private_contestants import CONTESTANTS, Train, build
from secure_federation import resident
from training import EXAMPLE
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from sealora.client.private_trainer import MICROBATCH
from sealora.models.base import locate
from sealora.models.site_data import prepare
from sealora.models.table import read_table, seeded_order
from sealora.models.task import Example, Task, load_task
from sealora.plan.loader import Plan, load
from sealora.privacy.accountants import PldAccountant
from sealora.privacy.events import PoissonSampledGaussian

DELTA = 1e-5
COMPOSITIONS = ((4.0, 0.01, 10_000), (1.0, 0.01, 1000), (0.8, 0.02, 500), (1.0, 0.1, 100))
"""Noise multiplier, sampling rate and steps of runs that are accounted but not trained."""
MEGABYTE = 1e6


def private_plan(batch: int, steps: int) -> Plan:
    """The example's model and task, under privacy, for one pass over batch · steps rows."""
    return load(EXAMPLE).replace(
        data={"rows": 0, "test_fraction": 0.5, "drop_duplicates": False},
        training={
            "threads": 1,
            "epochs": 1,
            "schedule": "constant",
            "optimizer": "sgd",
            "learning_rate": 0.5,
            "label_calibration": 0.0,
            "batch_size": batch,
            "microbatch_size": MICROBATCH,
        },
        strategy={"weighting": "uniform"},
        privacy={
            "guarantee": "record",
            "epsilon": 1000.0,
            "delta": DELTA,
            "clipping_norm": 1.0,
            "noise_multiplier": 1.0,
            "expected_batch": float(batch),
            "sampling_rate": 1 / steps,
        },
    )


def rows_of(plan: Plan, task: Task) -> list[Example]:
    """As many rows as `expected_batch` is exact for."""
    tokenizer = AutoTokenizer.from_pretrained(locate(plan.model))
    table = read_table(plan.data, task.card.columns(plan.data))
    rows = prepare(table, task, tokenizer, plan.data, plan.seed, "benchmark").train
    wanted = round(plan.privacy.nominal_units)
    if wanted > len(rows):
        raise SystemExit(f"there are only {len(rows)} rows to train on: choose fewer.")
    return [rows[row] for row in seeded_order(len(rows), "benchmark", plan.seed)[:wanted].tolist()]


def draw(plan: Plan, rows: int, seed: int) -> list[list[int]]:
    """Poisson batches for one pass."""
    generator = np.random.default_rng(seed)
    rate, steps = plan.privacy.sampling_rate, plan.privacy.steps_of(1)
    return [np.flatnonzero(generator.random(rows) < rate).tolist() for _ in range(steps)]


# --- speed ---


def speeds(plan: Plan, task: Task, rows: list[Example], pairs: int) -> dict[str, list[float]]:
    """Rows a CPU second of every contestant in every pair, after one unmeasured call of each."""
    trainings = {name: build(name, plan, task) for name in CONTESTANTS}
    for train in trainings.values():
        train(rows, [[0, 1]] * plan.privacy.steps_of(1))

    def timed(train: Train) -> Callable[[int], float]:
        def work(pair: int) -> float:
            batches = draw(plan, len(rows), pair)
            return sum(map(len, batches)) / train(rows, batches).seconds

        return work

    return interleave({name: timed(train) for name, train in trainings.items()}, pairs)


# --- memory ---


def memories(names: Sequence[str], batch: int, steps: int, repetitions: int) -> dict[str, list[float]]:
    """Peak resident memory of each of these contestants' processes in megabytes."""

    def measured(name: str) -> Callable[[int], float]:
        def work(repetition: int) -> float:
            with get_context("spawn").Pool(1) as pool:
                return pool.apply(peak_memory, (name, batch, steps, repetition))

        return work

    return interleave({name: measured(name) for name in names}, repetitions)


def peak_memory(name: str, batch: int, steps: int, seed: int) -> float:
    """Megabytes of this process at most while a contestant trains, the loaded model included."""
    _quieten()
    plan = private_plan(batch, steps)
    task = load_task(plan.task)
    rows = rows_of(plan, task)
    train = build(name, plan, task)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
    train(rows, draw(plan, len(rows), seed))
    return resident("VmHWM") / MEGABYTE


# --- accounting ---


def epsilons(plan: Plan) -> list[tuple[str, float, float]]:
    """(what, our ε, Opacus's ε) for the same releases."""
    from opacus.accountants import PRVAccountant

    promise, found = plan.privacy, []
    trained = (promise.noise_multiplier, promise.sampling_rate, promise.steps_of(1))
    for noise, rate, steps in (trained, *COMPOSITIONS):
        theirs = PRVAccountant()
        theirs.history = [(noise, rate, steps)]
        ours = PldAccountant("add-remove").epsilon([PoissonSampledGaussian(noise, rate, steps)], DELTA)
        found.append((f"z = {noise:g}, q = {rate:g}, {steps} steps", ours, theirs.get_epsilon(DELTA)))
    return found


# --- report ---


def report(
    found: Mapping[str, list[float]],
    peaks: Mapping[str, list[float]],
    spent: Sequence[tuple[str, float, float]],
) -> dict[str, float]:
    """Print the tables; returns the figures by name."""
    against = {name: Spread.of(ratios(found["ours"], speed)) for name, speed in found.items()}
    larger = {name: Spread.of(ratios(peaks["ours"], peak)) for name, peak in peaks.items()}
    figures = {f"rows_per_second_{name}": Spread.of(speed).median for name, speed in found.items()}
    figures |= {f"peak_megabytes_{name}": Spread.of(peak).median for name, peak in peaks.items()}
    figures |= {f"ratio_vs_{name}": ratio.median for name, ratio in against.items() if "opacus" in name}
    figures |= {f"memory_vs_{name}": ratio.median for name, ratio in larger.items() if "opacus" in name}
    figures["dp_over_nonprivate"] = Spread.of(ratios(found["nonprivate"], found["ours"])).median
    figures["epsilon_gap"] = max(abs(ours - theirs) / theirs for _, ours, theirs in spent)
    lines = [(name, Spread.of(speed).text(1), against[name].text(2)) for name, speed in found.items()]
    print(table(("contestant", "rows/s", "ours over it"), lines))
    lines = [(name, Spread.of(peak).text(0), larger[name].text(2)) for name, peak in peaks.items()]
    print(table(("contestant", "peak, MB", "ours over it"), lines))
    print(table(("ε at δ = 1e-5", "ours", "Opacus"), [(w, f"{o:.4f}", f"{t:.4f}") for w, o, t in spent]))
    return figures


def _quieten() -> None:
    warnings.simplefilter("ignore")  # third parties' deprecations, which would tear the table apart
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="DP-SGD beside Opacus and beside training without privacy.")
    parser.add_argument(
        "--quick", action="store_true", help="128 rows, two pairs, memory of ours and hooks only"
    )
    parser.add_argument("--batch", type=int, help="expected rows of a step (256; quick 64)")
    parser.add_argument("--steps", type=int, help="steps of a measured call (4; quick 2)")
    parser.add_argument("--pairs", type=int, help="measured calls of each contestant (5; quick 2)")
    parser.add_argument("--memory", type=int, help="processes that measure memory, of each (3; quick 1)")
    chosen = parser.parse_args()
    defaults = (64, 2, 2, 1) if chosen.quick else (256, 4, 5, 3)
    for name, value in zip(("batch", "steps", "pairs", "memory"), defaults, strict=True):
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def main() -> None:
    chosen = options()
    _quieten()
    print(machine(), flush=True)
    plan = private_plan(chosen.batch, chosen.steps)
    task = load_task(plan.task)
    rows = rows_of(plan, task)
    print(f"{len(rows)} rows, batches of {chosen.batch}, passes of {MICROBATCH}, {chosen.pairs} pairs")
    found = speeds(plan, task, rows, chosen.pairs)
    names = ("ours", "opacus_hooks") if chosen.quick else CONTESTANTS
    peaks = memories(names, chosen.batch, chosen.steps, chosen.memory)
    print(json_line("privacy", report(found, peaks, epsilons(plan))))


if __name__ == "__main__":
    main()

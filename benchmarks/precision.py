"""What rounding updates to 8 or 16 bits costs in accuracy, against 32 bits.

    python benchmarks/precision.py [--quick] [--out runs/benchmark-precision]
    python benchmarks/precision.py --probe

The example plan with 1,200 reviews and 3 rounds of 4 epochs (fewer passes learn nothing that rounding
could spoil), and seeds 1, 2, …: a seed decides rows, sites, held-out rows and first adapter, and
within a seed only the codec differs. 16 and 32 bits have the default range of ±1, over which 32 bits
have steps below 10⁻⁹. Each run has a folder; a finished one is not
run again, an interrupted one goes on where it was.

8 bits have 255 levels over all of `codec.range`, so it should be hardly wider than the largest
coordinate of a site's weighted update; yet an update that exceeds it is scaled down as a whole.
`--probe` prints that coordinate for every site and round of seed 0, which is not among those
measured. They were 0.0588 at most; `EIGHT_BIT_RANGE` is a quarter more, rounded to two digits.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from accuracy import EXAMPLE, difference_figures
from pairs import json_line, machine, table
from rich.console import Console

import sealora
from sealora.client import contribution, site
from sealora.plan.loader import Plan, load
from sealora.plan.settings import PlanSettings
from sealora.simulation.run_folder import RunFolder
from sealora.strategies.strategy import Part, Payload

BATCH = 16
EIGHT_BIT_RANGE = 0.074
CODECS: dict[str, dict[str, Any]] = {
    "bits8": {"value_bits": 8, "range": EIGHT_BIT_RANGE},
    "bits16": {"value_bits": 16},
    "bits32": {"value_bits": 32},
}
PROBED_SEED = 0


def run_codec(plan: Plan, folder: Path, console: Console) -> sealora.Run:
    """A plan's run, from its folder if it is finished there. Raises SystemExit over another plan's."""
    if (folder / "run.json").exists() and RunFolder.open(folder).plan.model_dump() != plan.model_dump():
        raise SystemExit(f"{folder} holds a run of another plan: delete it, or choose another --out.")
    if (folder / "result.json").exists():
        return sealora.Run.load(folder)
    return sealora.simulate(plan, folder, resume=True, console=console)


def run_seed(plan: Plan, seed: int, out: Path, console: Console) -> dict[str, float]:
    """Accuracy by codec, all on the same rows and from the same first adapter."""
    return {
        name: run_codec(plan.replace(seed=seed, codec=codec), out / f"seed-{seed}-{name}", console).metrics[
            "accuracy"
        ]
        for name, codec in CODECS.items()
    }


def largest_coordinates(plan: Plan, console: Console) -> list[float]:
    """Of every weighted update of a run, in the order of sending, before any scaling down."""
    original, found = contribution.clip, []

    def clip(settings: PlanSettings, parts: tuple[Part, ...], upload: Payload, weight: float) -> Any:
        vectors = contribution.scale(parts, upload, weight, dict.fromkeys(upload, 1.0))
        found.append(max(float(np.abs(vector).max(initial=0)) for vector in vectors.values()))
        return original(settings, parts, upload, weight)

    with tempfile.TemporaryDirectory() as folder, patch.object(site, "clip", clip):
        sealora.simulate(plan, Path(folder) / "probe", console=console)
    return found


def figures(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean accuracies over the seeds, and what each codec loses against 32 bits, paired by seed."""
    named = {f"accuracy_{name}": statistics.fmean(by[name] for by in found) for name in CODECS}
    for name in ("bits8", "bits16"):
        named |= difference_figures(f"{name}_minus_bits32", [by[name] - by["bits32"] for by in found])
    return named


def report(seeds: Sequence[int], found: Sequence[Mapping[str, float]]) -> str:
    """The table by seed, and the differences with their intervals."""
    named = figures(found)
    rows = [
        (str(seed), *(f"{by[name]:.4f}" for name in CODECS)) for seed, by in zip(seeds, found, strict=True)
    ]
    rows.append(("mean", *(f"{named[f'accuracy_{name}']:.4f}" for name in CODECS)))
    lines = [table(("seed", *CODECS), rows)]
    for name in ("bits8", "bits16"):
        key = f"{name}_minus_bits32_points"
        interval = (
            f"95 % interval {named[f'{key}_low']:+.2f} to {named[f'{key}_high']:+.2f}"
            if f"{key}_low" in named
            else "no interval from one seed"
        )
        lines.append(f"{name} minus bits32: {named[key]:+.2f} points ({interval})")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="8 and 16 bits a value against 32, over paired seeds.")
    parser.add_argument("--quick", action="store_true", help="one seed, 300 reviews, one round")
    parser.add_argument("--probe", action="store_true", help="print the sites' largest coordinates and stop")
    parser.add_argument("--seeds", type=int, help="how many seeds, from 1 (5; quick 1)")
    parser.add_argument("--out", type=Path, help="folder of the runs (runs/benchmark-precision[-quick])")
    chosen = parser.parse_args()
    chosen.seeds = chosen.seeds or (1 if chosen.quick else 5)
    chosen.out = chosen.out or Path("runs") / f"benchmark-precision{'-quick' * chosen.quick}"
    return chosen


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    rows, rounds, epochs = (300, 1, 1) if chosen.quick else (1200, 3, 4)
    plan = load(EXAMPLE).replace(
        data={"rows": rows},
        rounds={"count": rounds},
        training={"epochs": epochs, "batch_size": BATCH, "label_calibration": 0.0},
        strategy={"weighting": "examples"},
    )
    console = Console(stderr=True)
    if chosen.probe:
        peaks = largest_coordinates(plan.replace(seed=PROBED_SEED, codec={"value_bits": 32}), console)
        print(f"largest weighted coordinates: {', '.join(f'{peak:.4f}' for peak in peaks)}")
        print(f"the largest is {max(peaks):.4f}")
        return
    seeds = range(1, chosen.seeds + 1)
    found = [run_seed(plan, seed, chosen.out, console) for seed in seeds]
    print(report(seeds, found))
    print(json_line("precision", figures(found)))


if __name__ == "__main__":
    main()

"""What rounding updates to 2, 4, 8 or 16 bits costs in accuracy, against 32 bits.

    python benchmarks/precision.py [--codecs bits8,bits16] [--quick] [--out runs/benchmark-precision]
    python benchmarks/precision.py --probe

The example plan with 2,000 reviews, 4 rounds and the last layer's query and value adapted, so that what lies
below is computed once for all runs, and seeds 1, 2, …: a seed decides rows, sites, held-out rows and first
adapter, and within a seed only the codec differs. 16 and 32 bits have the default range of ±1, over which
32 bits have steps below 10⁻⁹. Each run has a folder; a finished one is not run again, an interrupted one goes
on where it was.

Few bits are few levels over all of `codec.range`, so it should be hardly wider than the largest
coordinate of what is rounded of a site's weighted update; yet an update that exceeds it is scaled down as
a whole. `--probe` prints that coordinate for every site and round of seed 0, which is not among those
measured, as it is, by kind of tensor, and rotated, and keeps them in the folder of the runs; ranges are a
quarter more, rounded to two digits. It also prints, for each codec, the bytes of a value and the error of a
round's sum relative to the sum, mean over the rounds: all from one training, so that only the codec differs.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from accuracy import EXAMPLE, difference_figures
from frozen_states import shared_states
from numpy.typing import NDArray
from pairs import json_line, machine, table
from rich.console import Console
from seeds import parse_seeds

import sealora
from sealora.client import contribution, local_work
from sealora.plan.coding import ROLES, codings
from sealora.plan.loader import Plan, load
from sealora.plan.payload import part_range
from sealora.plan.settings import PlanSettings
from sealora.protocol.codec import Layout, Segment
from sealora.protocol.keystream import Keystream
from sealora.simulation.run_folder import RunFolder
from sealora.strategies.strategy import Context, Part, Payload

BATCH = 16
PEAKS = {"plain": 0.0588}
"""Largest coordinates of seed 0 that are known without a probe."""
NAMED = ("plain", "rotated", "A", "B", "head")
REFERENCE = "bits32"
PROBED_SEED = 0


def codecs(peaks: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """All codecs whose ranges follow from these largest coordinates."""
    reach = {name: float(f"{1.25 * peak:.2g}") for name, peak in peaks.items()}
    found: dict[str, dict[str, Any]] = {}
    for bits in (2, 4, 8):
        found[f"bits{bits}"] = {"value_bits": bits, "range": reach["plain"]}
        if set(reach) == set(NAMED):
            kinds = {name: reach[name] for name in ("A", "B", "head")}
            found[f"bits{bits}kinds"] = {**found[f"bits{bits}"], "ranges": kinds}
            rotated = {"value_bits": bits, "range": reach["rotated"], "rotation": True}
            found[f"bits{bits}rotated"] = rotated
    return {**found, "bits16": {"value_bits": 16}, REFERENCE: {"value_bits": 32}}


MEASURED = ("bits8", "bits16")
"""Of which accuracies are measured unless others are named."""


def run_codec(plan: Plan, folder: Path, console: Console) -> sealora.Run:
    """A plan's run, from its folder if it is finished there. Raises SystemExit over another plan's."""
    if (folder / "run.json").exists() and RunFolder.open(folder).plan.model_dump() != plan.model_dump():
        raise SystemExit(f"{folder} holds a run of another plan: delete it, or choose another --out.")
    if (folder / "result.json").exists():
        return sealora.Run.load(folder)
    return sealora.simulate(plan, folder, resume=True, console=console)


def run_seed(
    plan: Plan, seed: int, chosen: Mapping[str, dict[str, Any]], out: Path, console: Console
) -> dict[str, float]:
    """Accuracy by codec, all on the same rows and from the same first adapter."""
    return {
        name: run_codec(plan.replace(seed=seed, codec=codec), out / f"seed-{seed}-{name}", console).metrics[
            "accuracy"
        ]
        for name, codec in chosen.items()
    }


Sent = tuple[Part, NDArray[np.float64]]
"""The part of one site's update in one round, and its weighted vector."""


def probe(plan: Plan, console: Console) -> list[list[Sent]]:
    """What every site sends in every round, before any scaling down."""
    original, found = contribution.clip, []

    def clip(
        settings: PlanSettings,
        parts: tuple[Part, ...],
        upload: Payload,
        coded: contribution.Vectors,
        weight: float,
    ) -> Any:
        (part,) = parts
        found.append((part, upload[part.name].astype(np.float64) * weight))
        return original(settings, parts, upload, coded, weight)

    with tempfile.TemporaryDirectory() as folder, patch.object(local_work, "clip", clip):
        sealora.simulate(plan.replace(simulation={"workers": 1}), Path(folder) / "probe", console=console)
    sites = len(found) // plan.rounds.count
    return [found[start : start + sites] for start in range(0, len(found), sites)]


def coded(plan: PlanSettings, number: int, part: Part, vector: NDArray[np.float64]) -> Any:
    """The map of a part in a round, and what is rounded of a vector."""
    context = Context(None, number, 0, plan.seed)  # type: ignore[arg-type]
    coding = codings(plan, (part,), context)[part.name]
    return coding, coding.forward(vector)


def peaks(plan: Plan, rounds: Sequence[Sequence[Sent]]) -> dict[str, float]:
    """The largest coordinate as it is, rotated, and by kind of tensor."""
    rotating = plan.replace(codec={"rotation": True})
    largest = dict.fromkeys(NAMED, 0.0)
    for number, sent in enumerate(rounds, 1):
        for part, vector in sent:
            roles = np.repeat(
                [ROLES[spec.role] for spec in part.tensors], [spec.size for spec in part.tensors]
            )
            by = {"plain": vector, "rotated": coded(rotating, number, part, vector)[1]}
            by |= {kind: vector[roles == kind] for kind in ROLES.values()}
            largest = {name: max(largest[name], float(np.abs(by[name]).max())) for name in largest}
    return largest


def error(plan: Plan, rounds: Sequence[Sequence[Sent]]) -> tuple[float, float]:
    """Bytes of a value, and the relative error of the sum, mean over the rounds."""
    errors, size = [], 0.0
    for number, sent in enumerate(rounds, 1):
        part = sent[0][0]
        layout = Layout(
            (Segment("x", part.length, part_range(plan, part)),), len(sent), plan.codec.value_bits
        )
        words, exact = np.zeros(layout.words, np.uint64), np.zeros(part.length)
        for place, (_, vector) in enumerate(sent):
            coding, rounded = coded(plan, number, part, vector)
            factor = min(1.0, part_range(plan, part) / float(np.abs(rounded).max()) * (1 - 1e-12))
            words += layout.encode({"x": rounded * factor}, Keystream(bytes([number, place]) * 16))
            exact += vector
        found = coding.inverse(layout.decode(words, len(sent))["x"])
        errors.append(float(np.linalg.norm(found - exact) / np.linalg.norm(exact)))
        size = 8 * layout.words / part.length
    return size, statistics.fmean(errors)


def figures(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean accuracies over the seeds, and what each codec loses against 32 bits, paired by seed."""
    named = {f"accuracy_{name}": statistics.fmean(by[name] for by in found) for name in found[0]}
    for name in found[0]:
        if name != REFERENCE:
            named |= difference_figures(f"{name}_minus_bits32", [by[name] - by[REFERENCE] for by in found])
    return named


def report(seeds: Sequence[int], found: Sequence[Mapping[str, float]]) -> str:
    """The table by seed, and the differences with their intervals."""
    named, codecs = figures(found), tuple(found[0])
    rows = [
        (str(seed), *(f"{by[name]:.4f}" for name in codecs)) for seed, by in zip(seeds, found, strict=True)
    ]
    rows.append(("mean", *(f"{named[f'accuracy_{name}']:.4f}" for name in codecs)))
    lines = [table(("seed", *codecs), rows)]
    for name in codecs:
        if name == REFERENCE:
            continue
        key = f"{name}_minus_bits32_points"
        interval = (
            f"95 % interval {named[f'{key}_low']:+.2f} to {named[f'{key}_high']:+.2f}"
            if f"{key}_low" in named
            else "no interval from one seed"
        )
        lines.append(f"{name} minus bits32: {named[key]:+.2f} points ({interval})")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="2 to 16 bits a value against 32, over paired seeds.")
    parser.add_argument(
        "--probe", action="store_true", help="print the largest coordinates and errors of sums, and stop"
    )
    parser.add_argument("--codecs", default=",".join(MEASURED), help="which; some need a --probe before")
    parser.add_argument("--rows", type=int, help="reviews (2,000; quick 300)")
    return parse_seeds(parser, "precision", "one seed, 300 reviews, one round")


def show_probe(plan: Plan, out: Path, console: Console) -> None:
    """Largest coordinates, which are kept, and what each codec makes of the same updates."""
    rounds = probe(plan, console)
    largest = peaks(plan, rounds)
    out.mkdir(parents=True, exist_ok=True)
    (out / "peaks.json").write_text(json.dumps(largest))
    print(table(("largest coordinate", "of"), [(f"{value:.4f}", name) for name, value in largest.items()]))
    found = {name: error(plan.replace(codec=codec), rounds) for name, codec in codecs(largest).items()}
    print(
        table(
            ("codec", "bytes a value", "error of the sum"),
            [(name, f"{size:.2f}", f"{lost:.4f}") for name, (size, lost) in found.items()],
        )
    )
    named = {f"peak_{name}": value for name, value in largest.items()}
    named |= {f"bytes_{name}": size for name, (size, _) in found.items()}
    named |= {f"error_{name}": lost for name, (_, lost) in found.items()}
    print(json_line("precision", named))


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    rows, rounds = (300, 1) if chosen.quick else (2000, 4)
    rows = chosen.rows or rows
    plan = load(EXAMPLE).replace(
        data={"rows": rows},
        rounds={"count": rounds},
        lora={"alpha": 128.0, "last_layers": 1},
        training={
            "batch_size": BATCH,
            "learning_rate": 5e-3,
            "label_calibration": 0.0,
            "cache_frozen_layers": True,
        },
        strategy={"weighting": "examples"},
    )
    console = Console(stderr=True)
    if chosen.probe:
        exact = {"value_bits": 32}
        show_probe(plan.replace(seed=PROBED_SEED, codec=exact), chosen.out, console)
        return
    probed = chosen.out / "peaks.json"
    known = codecs(json.loads(probed.read_text()) if probed.exists() else PEAKS)
    names = [*(name for name in chosen.codecs.split(",") if name != REFERENCE), REFERENCE]
    if unknown := set(names) - set(known):
        raise SystemExit(
            f"no codec {', '.join(sorted(unknown))}: there are {', '.join(known)}, more after --probe."
        )
    picked = {name: known[name] for name in names}
    seeds = range(1, chosen.seeds + 1)
    found = [run_seed(plan, seed, picked, chosen.out, console) for seed in seeds]
    print(report(seeds, found))
    print(json_line("precision", figures(found)))


if __name__ == "__main__":
    with shared_states():
        main()

"""How a simulation grows with its clients: seconds and memory, in this process and on Ray, and key work.

    python benchmarks/scale.py [--quick] [--only PART ...] [--plot FILE]

`growth` runs plans with 10 to 10,000 registered sites of ten rows each and cohorts of up to 500 with
real keys, two rounds and the final evaluation of all sites; each run is a process of its own. `keys` runs
one round of 1,000 sites with real keys, a tenth of which is lost, and the same with the ideal
functionality: both must give the same adapter. `phases` times the coordinator's part of sessions, phase
by phase, beside what its arithmetic alone would take.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure
from pairs import json_line, machine, table
from process_tree import Measured, measure
from scale_workload import IDEAL_ABOVE, write_plan
from scipy.optimize import nnls
from secure_aggregation import ADDED, EXPANDED
from secure_federation import Federation
from secure_workload import layout_of, random_words

from sealora.protocol import graph
from sealora.protocol.thresholds import floor, threshold
from sealora.simulation.engines import QUIET

CLIENTS = (10, 100, 300, 1000, 10_000)
QUICK = (10, 30, 100)
COHORT = 500
WEIGHTS = 100_000
ROUNDS = 2
SIMULATE = "import sys, sealora; sealora.simulate(sys.argv[1], sys.argv[2])"
MEGABYTE = 1e6
PHASES = ("train", "share", "mask", "check", "unmask")
AGREEMENTS, VERIFICATIONS = 26_000, 8_000
"""X25519 agreements and Ed25519 verifications a second, on one core of the machine of the formula."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Run:
    """One simulation."""

    clients: int
    cohort: int
    measured: Measured
    result: dict[str, Any]
    rounds: list[dict[str, Any]]

    @property
    def worked(self) -> int:
        """How often a site worked: in the rounds, and once for the final evaluation."""
        return self.cohort * ROUNDS + self.clients

    @property
    def met(self) -> int:
        """How often a site checked what another one of its session had signed, where there are real keys."""
        sessions = [self.cohort] * ROUNDS + ([self.clients] if self.clients <= IDEAL_ABOVE else [])
        return sum(sites**2 for sites in sessions)

    @property
    def megabytes(self) -> float:
        return self.measured.peak_pss / MEGABYTE


def simulate(folder: Path, clients: int, cohort: int, engine: str, **options: Any) -> Run:
    """A simulation in a process of its own."""
    plan = write_plan(folder, clients, cohort, engine, **options)
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    environment = {**os.environ, **QUIET, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-P", "-c", SIMULATE, str(plan), str(out)]
    measured = measure(command, environment, out.with_suffix(".log"))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((out / "result.json").read_text())
    return Run(clients, cohort, measured, result, [line for line in lines if "round" in line])


# --- growth with the number of sites ---


def growth(
    folder: Path, clients: Sequence[int], engines: Sequence[str], plot: Path | None
) -> dict[str, float]:
    """Seconds and memory by number of sites, and the line that fits them."""
    rows, named, found = [], {}, {}
    for engine in engines:
        runs = []
        for count in clients:
            run = simulate(folder, count, min(count, COHORT), engine, rounds=ROUNDS)
            runs.append(run)
            print(f"{engine} {count}: {run.measured.seconds:.1f} s, {run.megabytes:.0f} MB", flush=True)
            rows.append(
                (
                    engine,
                    f"{count:,}",
                    f"{run.cohort}",
                    f"{run.measured.seconds:.1f}",
                    f"{run.megabytes:.0f}",
                    run.result["evaluation_guarantee"].partition(" ")[0],
                )
            )
            named[f"seconds_{engine}_{count}"] = run.measured.seconds
            named[f"megabytes_{engine}_{count}"] = run.megabytes
        found[engine] = runs, law(runs)
        start, each, pair = found[engine][1]
        named[f"start_seconds_{engine}"], named[f"milliseconds_each_{engine}"] = start, 1000 * each
        named[f"milliseconds_pair_{engine}"] = 1000 * pair
        print(
            f"{engine}: {start:.1f} s, {1000 * each:.1f} ms each time that a site works, "
            f"{1000 * pair:.3f} ms for each pair of sites in a session"
        )
    print(table(("engine", "sites", "cohort", "seconds", "peak PSS, MB", "evaluation"), rows))
    if plot is not None:
        draw(found, plot)
    return named


Law = tuple[float, float, float]
"""(start, each, pair) of seconds = start + each · works + pair · pairs of sites in a session."""


def law(runs: Sequence[Run]) -> Law:
    """Least squares of relative errors, nothing below zero."""
    weights = 1 / np.array([run.measured.seconds for run in runs])
    columns = np.array([(1.0, run.worked, run.met) for run in runs])
    (start, each, pair), _ = nnls(columns * weights[:, None], np.ones(len(runs)))
    return float(start), float(each), float(pair)


def draw(found: dict[str, tuple[list[Run], Law]], path: Path) -> None:
    """Seconds and memory over the number of sites."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    above, below = figure.subplots(1, 2)
    for colour, (engine, (runs, (start, each, pair))) in zip(
        ("#4477AA", "#EE6677"), found.items(), strict=False
    ):
        clients = [run.clients for run in runs]
        above.plot(clients, [run.measured.seconds for run in runs], "o", color=colour, label=engine)
        above.plot(
            clients,
            [start + each * run.worked + pair * run.met for run in runs],
            color=colour,
            label=f"{start:.0f} s + {1000 * each:.0f} ms a work + {1000 * pair:.3f} ms a pair",
        )
        below.plot(clients, [run.megabytes for run in runs], "o-", color=colour, label=engine)
    above.set(xscale="log", yscale="log", xlabel="registered sites", ylabel="seconds")
    below.set(xscale="log", xlabel="registered sites", ylabel="peak memory, MB", ylim=0)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


# --- a thousand sites with real keys ---


def keys(folder: Path, sites: int) -> dict[str, float]:
    """One round with a tenth of the sites lost, with real keys and with the ideal functionality."""
    named, hashes, rows = {}, {}, []
    for name, limit in (("real", sites), ("ideal", 0)):
        run = simulate(folder, sites, sites, "local", rounds=1, dropout=0.1, ideal_above=limit)
        (only,) = run.rounds
        hashes[name] = run.result["adapter_sha256"]
        kept = only["contributors"]
        counted = len(kept)
        print(f"{name} keys: {counted} of {sites}, {run.measured.seconds:.1f} s", flush=True)
        rows.append(
            (
                name,
                f"{counted} of {sites}",
                f"{run.result['parameters']:,}",
                f"{run.measured.seconds:.1f}",
                f"{run.megabytes:.0f}",
            )
        )
        named[f"{name}_keys_seconds"] = run.measured.seconds
        named[f"{name}_keys_megabytes"] = run.megabytes
        named[f"{name}_keys_contributors"] = counted
    print(table(("keys", "contributors", "parameters", "seconds", "peak PSS, MB"), rows))
    if len(set(hashes.values())) > 1:
        raise RuntimeError(f"real keys and the ideal functionality give different adapters: {hashes}")
    print("real keys and the ideal functionality give the same adapter")
    return named


# --- the coordinator's part, by phase ---


class PhaseClock:
    """CPU seconds of the coordinator's work by phase: the next begins once its requests are made."""

    def __init__(self) -> None:
        self.seconds = [0.0] * (len(PHASES) + 1)
        self._phase = 0

    def __call__(self, work: Callable[[], Result], received: int = 0) -> Result:
        start = time.process_time()
        result = work()
        self.seconds[self._phase] += time.process_time() - start
        if getattr(work, "__name__", "") == "requests":
            self._phase += 1
        return result


def phases(sizes: Sequence[int]) -> dict[str, float]:
    """Seconds of each phase beside the formula, a tenth of the sites lost before they mask."""
    rows, named = [], {}
    for sites in sizes:
        clock, layout = PhaseClock(), layout_of(WEIGHTS, sites)
        least = sites - sites // 10
        federation = Federation(sites, sites // 10, least)
        federation.run(
            layout, lambda name, layout=layout: random_words(layout.words, name), sites // 10, (), clock
        )
        expected = formula(sites, sites // 10, least)
        for phase, name in enumerate(PHASES):
            rows.append((f"{sites:,} sites", name, f"{clock.seconds[phase]:.3f}", f"{expected[phase]:.3f}"))
            named[f"{name}_seconds_{sites}"] = clock.seconds[phase]
        named[f"coordinator_over_formula_{sites}"] = sum(clock.seconds) / sum(expected)
    print(table(("coordinator", "phase", "seconds", "formula"), rows))
    return named


def formula(sites: int, lost: int, least: int) -> list[float]:
    """Seconds of arithmetic alone: two agreements that test a site's keys, a signature for each message,
    a vector added for each survivor, and a mask for each survivor and each neighbour of one that was lost.
    """
    shared = threshold(sites, sites // 10)
    degree = graph.shape(sites, sites // 10, shared, floor(sites, sites // 10, least)).degree
    survivors = sites - lost
    masks = survivors + lost * degree * survivors / sites
    signature = 1 / VERIFICATIONS
    return [
        sites * (signature + 2 / AGREEMENTS),
        sites * signature,
        survivors * (signature + WEIGHTS / ADDED),
        survivors * signature,
        survivors * signature + masks * 4 * WEIGHTS / EXPANDED,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sites, in this process only")
    parser.add_argument("--only", choices=("growth", "keys", "phases"), action="append")
    parser.add_argument("--engine", choices=("local", "ray"), action="append")
    parser.add_argument("--plot", type=Path, help="write the picture of the growth here")
    chosen = parser.parse_args()
    parts = chosen.only or ["growth", "keys", "phases"]
    engines = chosen.engine or (["local"] if chosen.quick else ["local", "ray"])
    print(machine(), flush=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="sealora-") as name:
        if "growth" in parts:
            figures |= growth(Path(name), QUICK if chosen.quick else CLIENTS, engines, chosen.plot)
        if "keys" in parts:
            figures |= keys(Path(name), 100 if chosen.quick else 1000)
    if "phases" in parts:
        figures |= phases((10, 100) if chosen.quick else (10, 100, 1000))
    print(json_line("scale", figures))


if __name__ == "__main__":
    main()

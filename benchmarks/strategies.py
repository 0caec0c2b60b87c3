"""Published trends of federated LoRA strategies in small: what is sent, what converges, what privacy costs.

    python benchmarks/strategies.py [--quick] [--seeds 5] [--only PART ...] [--cache FOLDER]

Four parts:

- `sends`: values that a site sends in a round, from the strategies' own declarations, on the layers of the
  paper that counts them (RoBERTa-large, rank 8 on query and value); a count that differs ends the script.
- `linear`: FFA plateaus where RoLoRA converges, on a linear model of rank one.
- `private`: FedSVD, FFA, RoLoRA and FedAvg under record-level privacy at a tight budget, on two tasks.
- `open`: FedEx, adapters that start afresh in each round (FLoRA), FFA and RoLoRA beside FedAvg without
  privacy, on the same two tasks.

The tasks are those of `embedded_task`. Every strategy runs with each of three step sizes and keeps the one
with the best mean, so that none suffers from another's. A difference to FedAvg is told apart from zero if its
95 % interval (Student, paired by seed) does not hold zero.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from embedded_task import LAYOUT, RANK, WIDTH, A, B, Local, Rows, accuracy, embed, head, train
from linear_problem import Problem, errors
from pairs import Spread, json_line, machine, t_interval, table
from strategy_rounds import run_rounds

from sealora.models.adapter import AdapterLayout, Tensors, TensorSpec
from sealora.privacy.accountants import PldAccountant
from sealora.privacy.calibration import calibrate_noise
from sealora.privacy.events import Budget, PoissonSampledGaussian
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Context

LAYERS, MODEL_WIDTH = 24, 1024
"""Of RoBERTa-large, which FedSVD adapts at rank 8 (arXiv 2505.12805, table 6)."""
SENDERS = ("fedavg", "ffa", "fedsvd", "rolora", "fedsa")
LINEAR = ("fedavg", "ffa", "fedsvd", "rolora")
PRIVATE = ("fedavg", "ffa", "fedsvd", "rolora")
OPEN = ("fedavg", "fedex", "flora", "ffa", "rolora")
TASKS = {"sentiment": 3600, "newswire": 3000}
"""The examples whose data is taken, and how many rows of it."""
SITES, SKEW, HELD_OUT = 6, 0.5, 0.25
"""Sites, Dirichlet concentration of their classes, share of all rows that measures."""
BUDGET, RATE, STEPS, ROUNDS = Budget(3.0, 1e-5), 0.2, 5, 20
"""ε and δ of a site, sampling rate, steps of a round, rounds."""
STEP_SIZES = {"private": (0.25, 0.5, 1.0), "open": (1.0, 2.0, 4.0)}

Figures = dict[str, float]


@dataclass(frozen=True)
class Chosen:
    """The command line."""

    quick: bool
    seeds: int
    cache: Path


# --- what is sent ---


def values_sent(name: str) -> int:
    """Values of A and B that a site sends in a round, without the head."""
    specs = [
        TensorSpec(f"{layer:02d}.{module}.lora_{role}.weight", shape, role, f"{layer:02d}.{module}")
        for layer in range(LAYERS)
        for module in ("query", "value")
        for role, shape in (("A", (RANK, MODEL_WIDTH)), ("B", (MODEL_WIDTH, RANK)))
    ]
    strategy = load_strategy(StrategySettings(name=name))
    context = Context(strategy.layout(AdapterLayout(tuple(specs), RANK), 1), 1, SITES, 0)
    return sum(part.length for part in strategy.parts(context))


def sends(chosen: Chosen) -> Figures:
    """Counts, which must be those published: 786,432 and half of that."""
    counts = {name: values_sent(name) for name in SENDERS}
    expected = dict.fromkeys(SENDERS, 393_216) | {"fedavg": 786_432}
    if counts != expected:
        raise SystemExit(f"sent are {counts}, published {expected}")
    rows = [(name, f"{count:,}", f"{count / counts['fedavg']:g}") for name, count in counts.items()]
    print(table(("sends in a round", "values", "of fedavg"), rows))
    return {f"sent_over_fedavg_{name}": count / counts["fedavg"] for name, count in counts.items()}


# --- the linear problem ---


def linear(chosen: Chosen) -> Figures:
    """Relative errors after all rounds over seeds, and the floor that a fixed A leaves."""
    rounds, seeds = (50, 3) if chosen.quick else (200, 20)
    problems = [Problem.draw(seed) for seed in range(1, seeds + 1)]
    found = {name: [errors(name, problem, rounds)[-1] for problem in problems] for name in LINEAR}
    found["floor of a fixed A"] = [problem.plateau for problem in problems]
    spreads = {name: Spread.of(values) for name, values in found.items()}
    rows = [(name, *(f"{v:.2g}" for v in (s.median, s.least, s.most))) for name, s in spreads.items()]
    print(table((f"error after {rounds} rounds, {seeds} seeds", "median", "least", "most"), rows))
    return {f"linear_error_{name}": statistics.median(found[name]) for name in LINEAR}


# --- two tasks ---


def federated(kind: str, name: str, size: float, rows: Rows, seed: int) -> float:
    """Accuracy on the rows held out, after all rounds of one strategy."""
    generator = np.random.default_rng([seed, 2])
    order = generator.permutation(len(rows))
    held_out = round(HELD_OUT * len(rows))
    test, rest = rows.of(order[:held_out]), order[held_out:]
    sites = [rows.of(part) for part in dealt(rows.classes[rest], rest, generator)]
    readout = head(int(rows.classes.max()) + 1, seed)
    first = {
        A: generator.normal(0, WIDTH**-0.5, (RANK, WIDTH)).astype(np.float32),
        B: np.zeros((WIDTH, RANK), np.float32),
    }
    local = Local(STEPS, size, RATE, noise_multiplier() if kind == "private" else None)
    most = max(map(len, sites))
    weights = [1.0 if kind == "private" else len(site) / most for site in sites]
    ends: list[Tensors] = []
    rounds = iter(range(ROUNDS * SITES))

    def trained(site: int, start: Any, trains: tuple[str, ...]) -> Any:
        return train(start, trains, readout, sites[site], local, (seed, next(rounds)))

    run_rounds(name, LAYOUT, first, weights, ROUNDS, trained, ends.append)
    return accuracy(ends[-1], readout, test)


def dealt(classes: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> list[np.ndarray]:
    """The rows of each site: every class is cut by proportions of its own (arXiv 1909.06335)."""
    parts: list[list[np.ndarray]] = [[] for _ in range(SITES)]
    for label in np.unique(classes):
        own = rows[classes == label]
        shares = generator.dirichlet([SKEW] * SITES)
        cuts = np.round(np.cumsum(shares)[:-1] * len(own)).astype(int)
        for site, part in enumerate(np.split(own, cuts)):
            parts[site].append(part)
    return [np.concatenate(part) for part in parts]


def noise_multiplier() -> float:
    """What the budget takes for all steps of a site."""
    return calibrate_noise(
        lambda noise: PoissonSampledGaussian(noise, RATE, STEPS * ROUNDS),
        BUDGET,
        PldAccountant("add-remove"),
    )


def compared(kind: str, names: Sequence[str], chosen: Chosen) -> Figures:
    """Accuracies over seeds and their differences to FedAvg, on both tasks."""
    figures: Figures = {}
    for task, count in TASKS.items():
        rows = embed(task, count // 4 if chosen.quick else count, chosen.cache)
        best = {name: best_of(kind, name, rows, chosen) for name in names}
        lines = []
        for name, (size, found) in best.items():
            differences = [100 * (a - b) for a, b in zip(found, best["fedavg"][1], strict=True)]
            mean = statistics.fmean(differences)
            figures |= {f"{kind}_{task}_{name}": statistics.fmean(found)}
            cells = (f"{statistics.fmean(found):.3f}", f"{size:g}", f"{mean:+.2f}")
            lines.append((name, *cells, told(differences)))
        columns = (f"{kind}, {task}", "accuracy", "step size", "points to fedavg", "95 % interval")
        print(table(columns, lines), flush=True)
    return figures


def best_of(kind: str, name: str, rows: Rows, chosen: Chosen) -> tuple[float, list[float]]:
    """The step size with the best mean, and its accuracy for each seed."""
    seeds = range(1, chosen.seeds + 1)
    tried = {size: [federated(kind, name, size, rows, seed) for seed in seeds] for size in STEP_SIZES[kind]}
    return max(tried.items(), key=lambda item: statistics.fmean(item[1]))


def told(differences: Sequence[float]) -> str:
    """An interval and what it tells; nothing for the base itself or one seed."""
    if len(differences) < 2 or not any(differences):
        return "–"
    low, high = t_interval(differences)
    verdict = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return f"{low:+.2f} to {high:+.2f}, {verdict}"


PARTS: Mapping[str, Any] = {
    "sends": sends,
    "linear": linear,
    "private": partial(compared, "private", PRIVATE),
    "open": partial(compared, "open", OPEN),
}


def main() -> None:
    """Print all parts and the line of figures."""
    parser = argparse.ArgumentParser(description="Published trends of strategies, in small.")
    parser.add_argument("--quick", action="store_true", help="two seeds and a quarter of the rows")
    parser.add_argument("--seeds", type=int, help="seeds of the two tasks (5; quick 2)")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the parts")
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmark-strategies"), help="embeddings")
    given = parser.parse_args()
    chosen = Chosen(given.quick, given.seeds or (2 if given.quick else 5), given.cache)
    print(machine(), flush=True)
    chosen.cache.mkdir(parents=True, exist_ok=True)
    figures: Figures = {}
    for part in given.only or PARTS:
        print(f"\n--- {part} ---", flush=True)
        figures |= PARTS[part](chosen)
    print(json_line("strategies", figures))


if __name__ == "__main__":
    main()

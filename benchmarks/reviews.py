"""All strategies on the reviews of the sentiment example, over five seeds: what `sealora compare` prints.

    python benchmarks/reviews.py [--quick] [--seeds N] [--out runs/benchmark-reviews]

Is `sealora compare examples/sentiment/fast.toml` with the strategies below, except that all runs share what
the frozen layers make of a review, which changes no result. Finished runs in the folder are kept. Rules that
compare single updates run without masks. Step sizes are the best of a few on seed 9, which is not among those
measured.
"""

import argparse
from pathlib import Path

from frozen_states import shared_states
from pairs import json_line, machine
from rich.console import Console
from seeds import parse_seeds

import sealora
from sealora.plan.loader import load
from sealora.simulation.strategy_report import comparison_table

PLAN = Path(__file__).parents[1] / "examples" / "sentiment" / "fast.toml"
SGD = "training.optimizer=sgd,training.learning_rate=0.5"
UNMASKED = "secure_aggregation.enabled=false"
STRATEGIES = (
    *("fedavg", "fedprox", "feddyn:alpha=0.1", "fedavgm", "ffa", "rolora", "fedsvd", "fedsa", "fed_sb"),
    "fedadagrad:server_learning_rate=0.03",
    *(f"{name}:server_learning_rate=0.01" for name in ("fedadam", "fedyogi")),
    *("fedex", "flexlora", "flora", "hetlora"),
    *(f"{name}:{SGD}" for name in ("fedavg", "scaffold")),
    *(f"{name}:{UNMASKED}" for name in ("median", "trimmed_mean", "geometric_median", "norm_bound")),
    *(f"{name}:{UNMASKED}" for name in ("krum", "multi_krum")),
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="All strategies on the reviews of the sentiment example.")
    parser.add_argument("--strategy", action="append", help="these instead, as `sealora compare` takes them")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    return parse_seeds(parser, "reviews", "one seed, 200 reviews, one round", seeds=5)


def main() -> None:
    chosen = options()
    print(machine(), flush=True)
    plan = load(PLAN).replace(seed=chosen.first)
    if chosen.quick:
        plan = plan.replace(data={"rows": 200}, rounds={"count": 1})
    with shared_states():
        found = sealora.compare(
            plan, chosen.strategy or STRATEGIES, chosen.out, seeds=chosen.seeds, console=Console(stderr=True)
        )
    Console(width=140).print(comparison_table(found.result))
    means = {row["strategy"]: row["metric"]["mean"] for row in found.result["strategies"]}
    print(json_line("reviews", {name: mean for name, mean in means.items() if mean is not None}))


if __name__ == "__main__":
    main()

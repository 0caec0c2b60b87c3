"""The command line of a benchmark in parts, of which some can be chosen: `--quick` and `--only`."""

import argparse
from collections.abc import Callable, Mapping
from typing import TypeVar

from pairs import json_line, machine

Sizes = TypeVar("Sizes")


def run_parts(
    benchmark: str,
    description: str,
    parts: Mapping[str, Callable[[Sizes], Mapping[str, float]]],
    full: Sizes,
    quick: Sizes,
) -> None:
    """Measure the chosen parts, each of which prints what it found, and end with all their figures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer pairs")
    parser.add_argument("--only", nargs="+", choices=list(parts), default=list(parts), metavar="PART")
    chosen = parser.parse_args()
    print(machine(), flush=True)
    figures: dict[str, float] = {}
    for part in chosen.only:
        figures |= parts[part](quick if chosen.quick else full)
    print(json_line(benchmark, figures))

"""The command line of a benchmark over seeds: `--quick`, `--seeds` and `--out`."""

import argparse
from pathlib import Path


def parse_seeds(
    parser: argparse.ArgumentParser, benchmark: str, quick: str, seeds: int = 5
) -> argparse.Namespace:
    """Parse a benchmark's own options and these; `quick` tells what --quick makes smaller.

    `seeds` are as many as are run unless told otherwise, from 1 on.
    """
    folder = Path("runs") / f"benchmark-{benchmark}"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--seeds", type=int, help=f"how many seeds, from 1 ({seeds}; quick 1)")
    parser.add_argument("--out", type=Path, help=f"folder of the runs ({folder}[-quick])")
    chosen = parser.parse_args()
    chosen.seeds = chosen.seeds or (1 if chosen.quick else seeds)
    chosen.out = chosen.out or folder.with_name(folder.name + "-quick" * chosen.quick)
    return chosen

"""Paired measurements: contestants take turns, so that other work on the machine troubles all alike.

A comparison is the ratio (or difference) within each pair; the figure is the median over the pairs.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from scipy import stats

Result = TypeVar("Result")

MATRIX = 1024
"""Side of the float32 matrices whose product gives the machine's speed."""
SIGNIFICANT_DIGITS = 5


@dataclass(frozen=True)
class Spread:
    """Median, least and most of repeated measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int) -> str:
        """`median (least to most)` with so many decimals."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.most:.{digits}f})"


def interleave(works: Mapping[str, Callable[[int], Result]], pairs: int) -> dict[str, list[Result]]:
    """Results of every work by name, one for each pair.

    Each work is given the number of the pair, from 0. Who goes first moves on by one in every pair,
    so that a machine that warms up or slows down favours nobody.
    """
    names = list(works)
    results: dict[str, list[Result]] = {name: [] for name in names}
    for pair in range(pairs):
        first = pair % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(works[name](pair))
    return results


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Numerator over denominator in each pair. Raises ValueError if their numbers differ."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def t_interval(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval for the mean of paired differences. Raises ValueError below two of them."""
    if len(differences) < 2:
        raise ValueError("an interval needs at least two differences")
    quantile = float(stats.t.ppf((1 + confidence) / 2, len(differences) - 1))
    mean = statistics.fmean(differences)
    half = quantile * statistics.stdev(differences) / math.sqrt(len(differences))
    return mean - half, mean + half


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain text, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (columns, *rows))


def json_line(benchmark: str, figures: Mapping[str, float]) -> str:
    """The last line of every benchmark. Raises ValueError if a figure is not finite."""
    rounded = {name: _rounded(float(value)) for name, value in figures.items()}
    return json.dumps({"benchmark": benchmark, "figures": rounded}, allow_nan=False)


def machine() -> str:
    """One line: CPU, cores, speed measured now, load and date, for the reader of the figures."""
    load = os.getloadavg()[0]  # read first: measuring the speed is work, too
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, {gigaflops():.0f} GFLOP/s (float32), load {load:.1f}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def cpu_model() -> str:
    """The processor's name, as well as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def gigaflops(tries: int = 5) -> float:
    """Best speed of a float32 matrix product of NumPy in 10⁹ floating-point operations a second."""
    left = np.ones((MATRIX, MATRIX), dtype=np.float32)
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        np.matmul(left, left)
        times.append(time.perf_counter() - start)
    return float(2 * MATRIX**3 / min(times) / 1e9)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")

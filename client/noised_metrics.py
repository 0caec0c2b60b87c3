"""The sum vector of private rows, noised: what a unit adds is bounded, and a Gaussian hides it.

A row's part of the vector is clipped to the part's norm, and a group's is the mean of its rows', so a unit
adds at most that norm to each part. Measured in norms, what it adds to all P parts has an L2 norm of at
most √P, and each coordinate gets noise of √P noise multipliers: one Gaussian release (Dwork & Roth 2014,
appendix A). Rounding, the range and the offset are post-processing.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sealora.models.task import Counts, SumSpec
from sealora.privacy.noise import GaussianNoise

Contributions = Iterable[tuple[int, Mapping[str, Counts]]]
"""Row numbers, each with what the row adds to the sum vector."""


def noised_sums(
    rows: Contributions,
    units: Sequence[Sequence[int]],
    parts: Sequence[SumSpec],
    noise_multiplier: float,
    noise: GaussianNoise,
) -> dict[str, Counts]:
    """The noised sums by part, held within ±bound and raised by bound: int64 from 0 to 2·bound.

    Parameters: every row's contribution, once; the row numbers of each unit.
    """
    totals = clipped_sums(rows, units, parts)
    deviation = noise_multiplier * math.sqrt(len(parts))
    return {
        part.name: _representable(
            totals[part.name] + noise.float64(part.length, deviation * part.norm), part.bound
        )
        for part in parts
    }


def clipped_sums(
    rows: Contributions, units: Sequence[Sequence[int]], parts: Sequence[SumSpec]
) -> dict[str, NDArray[np.float64]]:
    """The sums before noise: one unit changes part p by at most p.norm in L2."""
    shares = {row: 1 / len(unit) for unit in units for row in unit}
    totals = {part.name: np.zeros(part.length) for part in parts}
    for row, contribution in rows:
        for part in parts:
            values = contribution[part.name].astype(np.float64)
            norm = float(np.linalg.norm(values))
            totals[part.name] += values * (shares[row] * min(1.0, part.norm / norm if norm > 0 else 1.0))
    return totals


def _representable(values: NDArray[np.float64], bound: int) -> Counts:
    return (np.clip(np.rint(values), -bound, bound) + bound).astype(np.int64)

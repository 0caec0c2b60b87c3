"""Trimmed mean: every value is a mean without the smallest and the largest.

Yin et al. 2018 (arXiv 1803.01498), definition 2: coordinate by coordinate, the f smallest and the f largest
are left out and the others averaged. See `robust` for what is compared.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sealora.strategies.robust import Robust, Updates
from sealora.strategies.strategy import Card


class TrimmedMean(Robust):
    """The coordinatewise trimmed mean."""

    card: ClassVar[Card] = Card(
        summary="As median, and less noisy: it averages what is left between the extremes.",
        source="Yin et al. 2018, arXiv 1803.01498",
        arithmetic="robust",
    )

    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """The mean of each column without its extremes."""
        kept = np.sort(updates, axis=0)[attackers : len(updates) - attackers]
        mean: NDArray[np.float64] = kept.mean(axis=0)
        return mean

"""Median: every value is the median of what the updates say.

Yin et al. 2018 (arXiv 1803.01498), definition 1: coordinate by coordinate, the mean of the two middle ones
where their number is even. See `robust` for what is compared.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sealora.strategies.robust import Robust, Updates
from sealora.strategies.strategy import Card


class Median(Robust):
    """The coordinatewise median."""

    card: ClassVar[Card] = Card(
        summary="Withstands fewer than half malicious sites or groups, value by value.",
        source="Yin et al. 2018, arXiv 1803.01498",
        arithmetic="robust",
    )

    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """The median of each column."""
        return np.median(updates, axis=0)

"""Krum: the one update that has the most others nearby.

Blanchard et al. 2017 (arXiv 1703.02757), section 4: the score of an update is the sum of the squared
distances to the n − f − 2 others that are nearest to it, and the update of the smallest score is taken. It
needs n ≥ 2f + 3. Equal scores share: their mean is taken, so that the order of sites does not matter. See
`robust` for what is compared.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sealora.strategies.robust import Robust, Updates
from sealora.strategies.strategy import Card


class Krum(Robust):
    """The update in the densest place."""

    card: ClassVar[Card] = Card(
        summary="Takes one update whole, so that values of attackers never mix in; noisy.",
        source="Blanchard et al. 2017, arXiv 1703.02757",
        arithmetic="robust",
    )

    @property
    def least(self) -> int:
        """2f + 3: an honest update has enough honest neighbours."""
        return 2 * self._attackers + 3

    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """The update of the smallest score."""
        found = scores(updates, attackers)
        best: NDArray[np.float64] = updates[found == found.min()].mean(axis=0)
        return best


def scores(updates: Updates, attackers: int) -> NDArray[np.float64]:
    """Each update's sum of squared distances to its nearest n − f − 2 others (at least one), shape (n,)."""
    count = len(updates)
    squares = np.full((count, count), np.inf)  # nothing is its own neighbour
    for one in range(count):
        for other in range(one):
            difference = updates[one] - updates[other]
            squares[one, other] = squares[other, one] = difference @ difference
    nearest = np.sort(squares, axis=1)[:, : min(max(count - attackers - 2, 1), count - 1)]
    total: NDArray[np.float64] = nearest.sum(axis=1)
    return total

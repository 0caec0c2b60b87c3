"""Geometric median: the point from which the updates are nearest, in the sum of their distances.

Pillutla et al. 2022 (arXiv 1912.13445), section 4 and algorithm 2: the minimiser of Σ ‖z − Δ_i‖ by the
smoothed Weiszfeld iteration z ← Σ β_i·Δ_i / Σ β_i with β_i = 1 / max(ν, ‖z − Δ_i‖), from the coordinatewise
median, until z hardly moves. See `robust` for what is compared.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sealora.strategies.robust import Robust, Updates
from sealora.strategies.strategy import Card

SMOOTHING = 1e-9
"""ν relative to the median distance, so that it means the same at every scale."""
TOLERANCE = 1e-9
"""Move, relative to the median distance, below which the iteration has arrived."""
STEPS = 500


class GeometricMedian(Robust):
    """The minimiser of the sum of distances."""

    card: ClassVar[Card] = Card(
        summary="As median, but turns with the updates: it does not depend on the choice of coordinates.",
        source="Pillutla et al. 2022, arXiv 1912.13445",
        arithmetic="robust",
    )

    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """Weiszfeld's iteration."""
        point = np.median(updates, axis=0)
        scale = float(np.median(np.linalg.norm(updates - point, axis=1)))
        for _ in range(STEPS if scale > 0 else 0):  # else most updates are this very point
            near = 1 / np.maximum(np.linalg.norm(updates - point, axis=1), SMOOTHING * scale)
            before, point = point, near @ updates / near.sum()
            if np.linalg.norm(point - before) <= TOLERANCE * scale:
                break
        return point

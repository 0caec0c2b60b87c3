"""Norm bounding: no update counts for more than a norm.

Sun et al. 2019 (arXiv 1911.07963), section 4: Δ_i / max(1, ‖Δ_i‖/M), averaged. M is written down, or the
median of the norms, which fewer than half of the updates cannot move beyond those of honest ones. It bounds
what attackers do; it does not undo it. The bound that every site keeps by itself is `codec.clip`. See
`robust` for what is compared.
"""

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sealora.protocol.settings import Settings
from sealora.strategies.robust import Robust, RobustOptions, Updates
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Card


class NormBoundOptions(RobustOptions):
    """What an update may weigh."""

    norm: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Largest L2 norm M of an update over all values; 0 takes the median of the norms of the round."""


class NormBound(Robust):
    """The mean of bounded updates."""

    options_class: ClassVar[type[Settings]] = NormBoundOptions
    card: ClassVar[Card] = Card(
        summary="The mean of updates cut to one norm: bounds attackers, and hardly costs honest sites.",
        source="Sun et al. 2019, arXiv 1911.07963",
        arithmetic="robust",
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._norm = NormBoundOptions.model_validate(settings.options).norm

    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """The mean after bounding."""
        norms = np.linalg.norm(updates, axis=1)
        bound = self._norm or float(np.median(norms))
        factors = np.divide(bound, norms, out=np.ones_like(norms), where=norms > bound)
        mean: NDArray[np.float64] = factors @ updates / len(updates)
        return mean

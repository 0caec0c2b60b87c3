"""FedYogi: see FedOpt, with v ← v − (1 − β₂)·Δ²·sign(v − Δ²).

Reddi et al. 2021 (arXiv 2003.00295), algorithm 2.
"""

from typing import ClassVar

import numpy as np

from sealora.protocol.settings import Settings
from sealora.strategies.fedopt import Decay, FedOpt, FedOptOptions, Moment
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Card


class FedYogiOptions(FedOptOptions):
    """The moments of the coordinator's optimiser."""

    beta2: Decay = 0.99
    """Share β₂ of the second moment that is kept from round to round."""


class FedYogi(FedOpt):
    """Algorithm 2's FedYogi."""

    options_class: ClassVar[type[Settings]] = FedYogiOptions
    card: ClassVar[Card] = Card(
        summary="As fedadam, but step sizes recover slowly from one large update.",
        source="Reddi et al. 2021, arXiv 2003.00295",
        rate="written",
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._beta2 = FedYogiOptions.model_validate(settings.options).beta2

    def second_moment(self, before: Moment, update: Moment) -> Moment:
        """v ← v − (1 − β₂)·Δ²·sign(v − Δ²)."""
        return before - (1 - self._beta2) * update**2 * np.sign(before - update**2)

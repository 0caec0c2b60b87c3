"""FedAdam: see FedOpt, with v ← β₂·v + (1 − β₂)·Δ².

Reddi et al. 2021 (arXiv 2003.00295), algorithm 2.
"""

from typing import ClassVar

from sealora.protocol.settings import Settings
from sealora.strategies.fedopt import Decay, FedOpt, FedOptOptions, Moment
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Card


class FedAdamOptions(FedOptOptions):
    """The moments of the coordinator's optimiser."""

    beta2: Decay = 0.99
    """Share β₂ of the second moment that is kept from round to round."""


class FedAdam(FedOpt):
    """Algorithm 2's FedAdam."""

    options_class: ClassVar[type[Settings]] = FedAdamOptions
    card: ClassVar[Card] = Card(
        summary="Adam at the coordinator: each value has a step size of its own.",
        source="Reddi et al. 2021, arXiv 2003.00295",
        rate="written",
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._beta2 = FedAdamOptions.model_validate(settings.options).beta2

    def second_moment(self, before: Moment, update: Moment) -> Moment:
        """v ← β₂·v + (1 − β₂)·Δ²."""
        return self._beta2 * before + (1 - self._beta2) * update**2

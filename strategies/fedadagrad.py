"""FedAdagrad: see FedOpt, with v ← v + Δ².

Reddi et al. 2021 (arXiv 2003.00295), algorithm 2; without momentum (β₁ = 0) in its experiments.
"""

from typing import ClassVar

from sealora.protocol.settings import Settings
from sealora.strategies.fedopt import Decay, FedOpt, FedOptOptions, Moment
from sealora.strategies.strategy import Card


class FedAdagradOptions(FedOptOptions):
    """The moments of the coordinator's optimiser."""

    beta1: Decay = 0.0
    """Share β₁ of the first moment that is kept from round to round."""


class FedAdagrad(FedOpt):
    """Algorithm 2's FedAdagrad."""

    options_class: ClassVar[type[Settings]] = FedAdagradOptions
    card: ClassVar[Card] = Card(
        summary="Adagrad at the coordinator: step sizes only shrink.",
        source="Reddi et al. 2021, arXiv 2003.00295",
        rate="written",
    )

    def second_moment(self, before: Moment, update: Moment) -> Moment:
        """v ← v + Δ²."""
        return before + update**2

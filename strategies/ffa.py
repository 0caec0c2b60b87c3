"""FFA-LoRA: A stays at its first value, B and the head are averaged.

Sun et al. 2024 (arXiv 2403.12313), section 4. With A₀ the same everywhere, the mean of the products is
the product of the mean, Σ p_k B_k A₀ = (Σ p_k B_k) A₀, so nothing is lost; half of the values are sent;
and under differential privacy B alone is noisy, where FedAvg has noise times noise in B·A.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from sealora.models.adapter import AdapterLayout
from sealora.strategies.fedavgm import FedAvgM, FedAvgMOptions
from sealora.strategies.strategy import Card


class FFAOptions(FedAvgMOptions):
    """Momentum at the coordinator, which steps of whole rounds under privacy profit from."""

    beta: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the velocity that is kept from round to round, as in `fedavgm`; 0 takes the mean as it is."""


class FFA(FedAvgM):
    """The mean with A frozen. Every party draws A₀ from the plan's seed, so it is not sent either."""

    options_class: ClassVar[type[FedAvgMOptions]] = FFAOptions
    card: ClassVar[Card] = Card(
        summary="A stays as it was drawn: exact, half the traffic, and less noise under privacy.",
        source="Sun et al. 2024, arXiv 2403.12313",
        factors=True,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A is frozen."""
        return adapter.marked("frozen", "A")

"""FFA-LoRA: A stays at its first value, B and the head are averaged.

Sun et al. 2024 (arXiv 2403.12313), section 4. With A₀ the same everywhere, the mean of the products is
the product of the mean, Σ p_k B_k A₀ = (Σ p_k B_k) A₀, so nothing is lost; half of the values are sent;
and under differential privacy B alone is noisy, where FedAvg has noise times noise in B·A.
"""

from typing import ClassVar

from sealora.models.adapter import AdapterLayout
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.strategy import Card


class FFA(FedAvg):
    """FedAvg with A frozen. Every party draws A₀ from the plan's seed, so it is not sent either."""

    card: ClassVar[Card] = Card(
        summary="A stays as it was drawn: exact, half the traffic, and less noise under privacy.",
        source="Sun et al. 2024, arXiv 2403.12313",
        factors=True,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A is frozen."""
        return adapter.marked("frozen", "A")

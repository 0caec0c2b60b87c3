"""RoLoRA: A and B take turns.

Chen et al. 2025 (arXiv 2502.01755), algorithm 1: B is trained and averaged in odd rounds, A in even ones,
while the other is held; with one factor common to all sites the mean of the products is the product of the
means. The head is trained in every round.
"""

from typing import ClassVar

from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.strategy import Card, Context


class RoLoRA(FedAvg):
    """FedAvg of one factor at a time."""

    card: ClassVar[Card] = Card(
        summary="A and B take turns: exact, half the upload, and A is learnt too.",
        source="Chen et al. 2025, arXiv 2502.01755",
        factors=True,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A is frozen in odd rounds, B in even ones."""
        return adapter.marked("frozen", "A" if round_number % 2 else "B")

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """Both factors: the one that is held was trained before."""
        return context.layout.specs

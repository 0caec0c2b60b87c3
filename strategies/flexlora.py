"""FlexLoRA: the mean of the products, cut to each site's rank by its singular values.

Bai et al. 2024 (arXiv 2402.11505): with M = Σ p_k·s·B_k·A_k = U·Σ·Vᵀ, a site of rank r begins the next round
with B = U_r·Σ_r / s and A = V_rᵀ. The factors of the largest rank are sent to all, and a site takes the first
r columns and rows, so that one broadcast serves every rank. Directions that M lacks keep their row of A, with
a zero column of B, and can be learnt later. Where ranks differ much, the model tends towards the rank that
all share: Wu et al. 2026 (arXiv 2602.13486).
"""

from typing import ClassVar

import numpy as np

from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.strategies.product_strategy import DISCLOSES, ProductStrategy
from sealora.strategies.strategy import Aggregate, Card, Context, State


class FlexLoRA(ProductStrategy):
    """The model is the mean product at the largest rank."""

    card: ClassVar[Card] = Card(
        summary="Averages products, not factors, and gives each site as much rank as it can use.",
        source="Bai et al. 2024, arXiv 2402.11505",
        arithmetic="sketch",
        mixed_ranks=True,
        factors=True,
        discloses=DISCLOSES,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A and B are sent within their product alone."""
        return adapter.marked("derived", "A").marked("derived", "B")

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """Everything, at the largest rank."""
        return context.layout.specs

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """The head's mean, and the largest singular values of M."""
        products, figures = self.products(state, context, aggregate)
        state = {**super().step(state, context, aggregate), **figures}
        for a, b in context.layout.pairs:
            left, values, right = products[a.module].decomposed()
            rank = min(len(values), context.layout.rank)
            found_a, found_b = np.array(state[a.name]), np.zeros_like(state[b.name])
            found_a[:rank] = right[:rank]
            found_b[:, :rank] = left[:, :rank] * values[:rank] / a.scale
            state = {**state, a.name: found_a, b.name: found_b}
        return state

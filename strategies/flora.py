"""FLoRA: products are added to the base after each round, and adapters start afresh.

Wang et al. 2024 (arXiv 2409.05976): the sites' factors are stacked, A* = rows [p_k·A_k] and B* = columns
[B_k], so that B*·A* = Σ p_k·B_k·A_k without an error, whatever their ranks. Here the product itself is
summed, which is the same and shows no site's factors: W ← W + η·s·Σ p_k·B_k·A_k. Every round begins with the
first A, of which a site takes as many rows as its rank, and with B = 0.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sealora.models.adapter import Adapter, AdapterLayout, Tensors, TensorSpec
from sealora.models.names import residual_of
from sealora.strategies.product_strategy import DISCLOSES, ProductStrategy
from sealora.strategies.products import Factors
from sealora.strategies.residual import merged, no_residuals, with_residuals
from sealora.strategies.strategy import Aggregate, Card, Context, Memory, Start, State


class FLoRA(ProductStrategy):
    """The model is W and the head."""

    card: ClassVar[Card] = Card(
        summary="Adds the mean product to the base and begins each round with fresh adapters of any rank.",
        source="Wang et al. 2024, arXiv 2409.05976",
        arithmetic="sketch",
        mixed_ranks=True,
        factors=True,
        discloses=DISCLOSES,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A and B are sent within their product alone, and W is added to the base."""
        return with_residuals(adapter.marked("derived", "A").marked("derived", "B"))

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """W and the head: everybody has the first A."""
        return context.layout.of_kind("shared", "residual")

    def begun(self, tensors: Tensors, context: Context) -> Mapping[str, Factors]:
        """Nothing: B is zero."""
        return {
            a.module: (np.zeros((b.shape[0], 0)), np.zeros((0, a.shape[1]))) for a, b in context.layout.pairs
        }

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """W and the head as received, the first A, and no B."""
        start = super().local(received, first, memory, context).tensors
        return Start({**start, **{b.name: np.zeros(b.shape, np.float32) for _, b in context.own.pairs}})

    def init(self, model: Adapter) -> State:
        """The first product, which is zero, is the first W."""
        state = {**model.tensors, **no_residuals(model.layout)}
        for a, b in model.layout.pairs:
            state[residual_of(a.module)] = np.float32(a.scale) * (
                model.tensors[b.name] @ model.tensors[a.name]
            )
        return state

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """W ← W + η·mean product, and the head's mean."""
        products, figures = self.products(state, context, aggregate)
        moved = {
            name: (state[name] + products[a.module].dense()).astype(np.float32)
            for a, _ in context.layout.pairs
            for name in [residual_of(a.module)]
        }
        return {**super().step(state, context, aggregate), **moved, **figures}

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """W as an adapter."""
        zeros = {b.name: np.zeros_like(state[b.name]) for _, b in layout.pairs}
        return merged({**state, **zeros}, layout)

"""FedEx-LoRA: FedAvg of the factors, and the error that it makes, added to the base.

Singhal et al. 2024 (arXiv 2410.09432): the mean of the products is not the product of the means, so W ← W +
s·(Σ p_k·B_k·A_k − B̄·Ā) makes up for it, and the model is the exact mean. A site of a smaller rank, which the
paper has not, trains the first columns of B and rows of A, and adds the product of the others to its base:
all sites begin with the same model, whatever their ranks.
"""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from sealora.models.adapter import Adapter, AdapterLayout, Array, Tensors, TensorSpec, pasted
from sealora.models.names import residual_of
from sealora.strategies.product_strategy import DISCLOSES, ProductStrategy
from sealora.strategies.residual import merged, no_residuals, with_residuals
from sealora.strategies.strategy import Aggregate, Card, Context, Memory, Payload, Start, State, Trained


class FedEx(ProductStrategy):
    """The model is W, A, B and the head."""

    card: ClassVar[Card] = Card(
        summary="FedAvg without its error: what the product of the means misses is added to the base.",
        source="Singhal et al. 2024, arXiv 2410.09432",
        arithmetic="sketch",
        mixed_ranks=True,
        factors=True,
        discloses=DISCLOSES,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A, B and the head are averaged, and W is added to the base."""
        return with_residuals(adapter)

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """Everything, at the largest rank."""
        return context.layout.specs

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """The factors cut to this site's rank; what is cut off joins W."""
        start, rank = super().local(received, first, memory, context).tensors, context.own.rank
        rest = {
            residual_of(a.module): start[residual_of(a.module)]
            + _product(received[b.name][:, rank:], received[a.name][rank:], a.scale)
            for a, b in context.layout.pairs
            if rank < context.layout.rank
        }
        return Start({**start, **rest})

    def upload(self, received: Tensors, trained: Trained, memory: Memory, context: Context) -> Payload:
        """As of the largest rank: rows and columns that were not trained are as received."""
        whole = replace(trained, tensors=pasted(trained.tensors, received))
        return super().upload(received, whole, memory, context)

    def init(self, model: Adapter) -> State:
        """W = 0."""
        return {**model.tensors, **no_residuals(model.layout)}

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """The means of A, B and the head, and W ← W + M − s·B̄·Ā."""
        products, figures = self.products(state, context, aggregate)
        after = {**super().step(state, context, aggregate), **figures}
        for a, b in context.layout.pairs:
            name = residual_of(a.module)
            error = products[a.module].dense() - _product(after[b.name], after[a.name], a.scale)
            after = {**after, name: (state[name] + error).astype(np.float32)}
        return after

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """W + s·B·A as one adapter."""
        return merged(state, layout)


def _product(b: Array, a: Array, scale: float) -> Array:
    """s·B·A."""
    return (scale * b.astype(np.float64) @ a.astype(np.float64)).astype(np.float32)

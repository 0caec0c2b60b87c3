"""FedSVD: B is trained and averaged, and both factors are drawn anew from the product after each round.

Lee et al. 2025 (arXiv 2505.12805), algorithm 1: with U·Σ·Vᵀ the singular value decomposition of B̄·Â, the next
round starts from B̂ = U_r·Σ_r and Â = V_rᵀ. The product is the same; A has orthonormal rows again, aligned
with what was learnt, which bounds gradients under differential privacy. It only uses the sum, so it costs
nothing there.
"""

from typing import ClassVar

import numpy as np

from sealora.models.adapter import AdapterLayout, Array, TensorSpec
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.strategy import Aggregate, Card, Context, State


class FedSVD(FedAvg):
    """FedAvg of B with A re-orthogonalised at the coordinator."""

    card: ClassVar[Card] = Card(
        summary="As ffa, with A made orthonormal anew after each round; meant for training under privacy.",
        source="Lee et al. 2025, arXiv 2505.12805",
        factors=True,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A is frozen in training."""
        return adapter.marked("frozen", "A")

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """Both factors: the coordinator changes A."""
        return context.layout.specs

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """B ← B + η·mean update, then both factors from the product of each module."""
        state = super().step(state, context, aggregate)
        for first, second in context.layout.pairs:
            factors = refactored(state[second.name], state[first.name])
            state = {**state, second.name: factors[0], first.name: factors[1]}
        return state


def refactored(b: Array, a: Array) -> tuple[Array, Array]:
    """(U·Σ, Vᵀ) of b·a, shapes (out, rank) and (rank, in), from matrices of rank columns only.

    aᵀ = Q·R gives b·a = (b·Rᵀ)·Qᵀ. The largest entry of each row of Vᵀ is positive, for signs are
    arbitrary. Where the rank exceeds a dimension, the rest is zero.
    """
    basis, triangle = np.linalg.qr(a.T.astype(np.float64))
    left, values, right = np.linalg.svd(b.astype(np.float64) @ triangle.T, full_matrices=False)
    rows = right @ basis.T
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    found_b, found_a = np.zeros_like(b), np.zeros_like(a)
    found_b[:, : len(values)] = left * values * signs
    found_a[: len(values)] = rows * signs[:, None]
    return found_b, found_a

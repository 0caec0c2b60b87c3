"""HetLoRA: factors of different ranks, filled up with zeros, and averaged by the size of their products.

Cho et al. 2024 (arXiv 2401.06432): with S_k = ‖s·B_k·A_k‖_F over all modules, A = Σ S_k·A_k / Σ S_k and B
likewise, each A_k and B_k filled up to the largest rank; a site takes the first rows and columns of its rank.
Sites send S_k·ΔA_k, S_k·ΔB_k and S_k, so a sum is enough. The head is averaged as in FedAvg; the paper's
pruning of ranks during training is left out.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from sealora.models.adapter import (
    AdapterLayout,
    Array,
    Tensors,
    TensorSpec,
    cut,
    flatten,
    pasted,
    unflatten,
    values_of,
)
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Card, Context, Memory, Part, Payload, Start, State, Trained

FACTORS, NORM = "factors", "norm"


class HetLoRAOptions(Settings):
    """How much the size of a site's product counts."""

    norm_cap: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    """Largest S_k: a larger one counts no more, which bounds what one site can do."""


class HetLoRA(FedAvg):
    """The model is A and B at the largest rank, and the head."""

    options_class: ClassVar[type[Settings]] = HetLoRAOptions
    card: ClassVar[Card] = Card(
        summary="Sites of different ranks: factors filled up, and weighted by the size of their product.",
        source="Cho et al. 2024, arXiv 2401.06432",
        mixed_ranks=True,
        factors=True,
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._cap = HetLoRAOptions.model_validate(settings.options).norm_cap

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A and B are sent times S_k."""
        return adapter.marked("derived", "A").marked("derived", "B")

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """Everything, at the largest rank."""
        return context.layout.specs

    def parts(self, context: Context) -> tuple[Part, ...]:
        """The head, and S_k / cap with what it multiplies; both are scaled down together."""
        length = values_of(context.layout.of_kind("derived"))
        factors = Part(FACTORS, length, weighted=False, group=FACTORS)
        return (*super().parts(context), factors, Part(NORM, 1, weighted=False, range=1.0, group=FACTORS))

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """As received, cut to this site's rank."""
        return Start(cut(super().local(received, first, memory, context).tensors, context.own))

    def upload(self, received: Tensors, trained: Trained, memory: Memory, context: Context) -> Payload:
        """Differences of the filled-up factors, times S_k / cap."""
        names = [spec.name for spec in context.layout.of_kind("derived")]
        zeros = {name: np.zeros_like(received[name]) for name in names}
        filled = pasted({name: trained.tensors[name] for name in names}, zeros)
        share = np.float32(min(_norm(trained.tensors, context.layout) / self._cap, 1.0))
        return {
            **super().upload(received, trained, memory, context),
            FACTORS: share * (flatten(filled, names) - flatten(received, names)),
            NORM: np.array([share], np.float32),
        }

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """The head's mean, and A and B moved by η·Σ S_k·Δ_k / Σ S_k; not at all where all S_k are zero."""
        moved = {**super().step(state, context, aggregate)}
        total = float(aggregate.sums[NORM][0])
        if total > 0:
            by = aggregate.sums[FACTORS] * (self._rate / total)
            for name, step in unflatten(by, context.layout.of_kind("derived")).items():
                moved[name] = state[name] + step
        return moved


def _norm(tensors: Mapping[str, Array], layout: AdapterLayout) -> float:
    """‖s·B·A‖_F over all modules: ‖B·A‖² is the sum of (BᵀB)∘(AAᵀ)."""
    total = 0.0
    for a, b in layout.pairs:
        right, left = tensors[a.name].astype(np.float64), tensors[b.name].astype(np.float64)
        total += a.scale**2 * float(np.sum((left.T @ left) * (right @ right.T)))
    return float(np.sqrt(max(total, 0.0)))

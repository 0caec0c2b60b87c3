"""FedDyn: a regulariser at each site whose fixed points are those of the common objective.

Acar et al. 2021 (arXiv 2111.04263), algorithm 1. A site minimises F_k(W) − ⟨g_k, W⟩ + α/2·‖W − W_t‖², so
α·(W − W_t) − g_k joins the gradient, and g_k ← g_k − α·(W_k − W_t) afterwards. Over all N sites and the
contributors P, the coordinator sets h ← h − α/N·Σ_P (W_k − W_t) and W ← mean of W_k − h/α. Sites count
equally, and the coordinator has no step size.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from sealora.models.adapter import Adapter, Tensors, unflatten, values_of
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import UPDATE, FedAvg, moved
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Card, Context, Memory, Part, Payload, Start, State, Trained

GRADIENT = "feddyn/gradient"
"""h in the state, g_k in a site's memory: all shared values end to end."""


class FedDynOptions(Settings):
    """How strongly sites are held to the common objective."""

    alpha: Annotated[float, Field(gt=0, le=100)] = 0.01
    """Weight α of the regulariser: small lets sites move far, and large makes progress slow."""


class FedDyn(FedAvg):
    """Dynamic regularisation."""

    options_class: ClassVar[type[Settings]] = FedDynOptions
    card: ClassVar[Card] = Card(
        summary="Makes sites with different data agree in the limit; each keeps a gradient of its own.",
        source="Acar et al. 2021, arXiv 2111.04263",
        rate="none",
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._alpha = FedDynOptions.model_validate(settings.options).alpha

    def parts(self, context: Context) -> tuple[Part, ...]:
        """The update, unweighted."""
        (update,) = super().parts(context)
        return (replace(update, weighted=False),)

    def init(self, model: Adapter) -> State:
        """h = 0."""
        return {**model.tensors, GRADIENT: np.zeros(values_of(model.layout.of_kind("shared")), np.float32)}

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """h ← h − α/N·Σ Δ, then W ← W + mean Δ − h/α."""
        total = aggregate.sums[UPDATE]
        gradient = state[GRADIENT] - self._alpha / aggregate.sites * total
        step = total / aggregate.contributors - gradient / self._alpha
        return {**moved(state, context, step), GRADIENT: gradient.astype(np.float32)}

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """From W_t, with α·(W − W_t) − g_k for the gradient."""
        start, alpha = super().local(received, first, memory, context).tensors, np.float32(self._alpha)
        own = unflatten(memory[GRADIENT], context.layout.of_kind("shared")) if GRADIENT in memory else {}
        return Start(
            start,
            lambda now: {
                name: alpha * (now[name] - start[name]) - own.get(name, np.float32(0)) for name in now
            },
        )

    def remember(
        self,
        payload: Payload,
        factors: Mapping[str, float],
        trained: Trained,
        memory: Memory,
        context: Context,
    ) -> Memory:
        """g_k − α·Δ_k, of what was sent of it."""
        before = memory.get(GRADIENT, np.zeros_like(payload[UPDATE]))
        return {GRADIENT: before - np.float32(self._alpha * factors[UPDATE]) * payload[UPDATE]}

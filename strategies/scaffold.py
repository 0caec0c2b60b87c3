"""SCAFFOLD: control variates correct the drift of sites with different data.

Karimireddy et al. 2020 (arXiv 1910.06378), algorithm 1 with option II. A site adds c − c_k to its
gradients; after K steps of size η from W to W_k its next control variate is c_k⁺ = c_k − c + (W − W_k)/(K·η).
The coordinator moves W by η_g times the mean update, and c by Σ (c_k⁺ − c_k) / N over all N sites. Updates
may be weighted here, which the paper's are not.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from sealora.models.adapter import Adapter, Array, Tensors, TensorSpec, unflatten, values_of
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import UPDATE, FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Card, Context, Memory, Part, Payload, Start, State, Trained

CONTROL = "scaffold/control"
"""c in the state and the broadcast, c_k in a site's memory: all shared values end to end."""


class ScaffoldOptions(Settings):
    """How control variates are carried."""

    control_range: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest change of a control variate's coordinate in a round: of the size of a gradient's coordinate."""


class Scaffold(FedAvg):
    """FedAvg with control variates at the coordinator and at each site."""

    options_class: ClassVar[type[Settings]] = ScaffoldOptions
    card: ClassVar[Card] = Card(
        summary="Corrects the drift of sites with different data; each site keeps a control variate.",
        source="Karimireddy et al. 2020, arXiv 1910.06378",
        only_sgd=True,
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._range = ScaffoldOptions.model_validate(settings.options).control_range

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """W and c."""
        shared = context.layout.of_kind("shared")
        return (*shared, TensorSpec(CONTROL, (values_of(shared),)))

    def parts(self, context: Context) -> tuple[Part, ...]:
        """The update, and the change of the control variate, which no weight may scale."""
        (update,) = super().parts(context)
        control = Part(CONTROL, update.length, weighted=False, range=self._range, group=CONTROL)
        return (update, control)

    def init(self, model: Adapter) -> State:
        """c = 0."""
        return {**model.tensors, CONTROL: np.zeros(values_of(model.layout.of_kind("shared")), np.float32)}

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """W ← W + η_g·mean update, c ← c + Σ Δc_k / N."""
        control = state[CONTROL] + aggregate.sums[CONTROL] / aggregate.sites
        return {**super().step(state, context, aggregate), CONTROL: control.astype(np.float32)}

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """From W, with c − c_k for the gradient."""
        correction = unflatten(received[CONTROL] - _own(memory, received), context.layout.of_kind("shared"))
        return Start(super().local(received, first, memory, context).tensors, lambda _: correction)

    def upload(self, received: Tensors, trained: Trained, memory: Memory, context: Context) -> Payload:
        """ΔW and Δc_k = (W − W_k)/(K·η) − c."""
        payload = super().upload(received, trained, memory, context)
        path = np.float32(trained.steps * trained.step_size)
        # Without a step there is nothing to learn a gradient from.
        change = -payload[UPDATE] / path - received[CONTROL] if path > 0 else np.zeros_like(payload[UPDATE])
        return {**payload, CONTROL: change}

    def remember(
        self,
        payload: Payload,
        factors: Mapping[str, float],
        trained: Trained,
        memory: Memory,
        context: Context,
    ) -> Memory:
        """c_k plus what was sent of its change, so that c stays the mean of all c_k."""
        return {CONTROL: _own(memory, payload) + np.float32(factors[CONTROL]) * payload[CONTROL]}


def _own(memory: Memory, like: Mapping[str, Array]) -> Array:
    """c_k, which is zero at first."""
    return memory[CONTROL] if CONTROL in memory else np.zeros_like(like[CONTROL])

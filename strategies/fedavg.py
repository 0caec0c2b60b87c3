"""FedAvg over LoRA tensors.

McMahan et al. 2017 (arXiv 1602.05629), Algorithm 1, applied to A, B and the head as FedIT does
(arXiv 2305.05644, section 3.2). Sites send differences to what they received, which have a smaller
range than the tensors: W ← W + η·Σ p_k (W_k − W).
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sealora.models.adapter import Adapter, AdapterLayout, Tensors, TensorSpec, flatten, unflatten, values_of
from sealora.protocol.settings import Settings
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import (
    Aggregate,
    Card,
    Context,
    Memory,
    NoOptions,
    Part,
    Payload,
    Start,
    State,
    Trained,
)

UPDATE = "update"


class FedAvg:
    """Every shared tensor is trained, sent as a difference, and replaced by the weighted mean.

    Also the base of strategies that differ from it in one respect.
    """

    sees: Literal["sum", "groups", "each"] = "sum"
    groups: int = 0
    options_class: ClassVar[type[Settings]] = NoOptions
    card: ClassVar[Card] = Card(
        summary="The plain weighted mean: begin with it.",
        source="McMahan et al. 2017, arXiv 1602.05629; FedIT, arXiv 2305.05644",
    )

    def __init__(self, settings: StrategySettings) -> None:
        self._rate = settings.server_learning_rate

    @property
    def least(self) -> int:
        """One sum is all it takes."""
        return 1

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """Everything is shared that is not frozen already."""
        return adapter

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """What is shared; the rest has its first value, or one of the site's own."""
        return context.layout.of_kind("shared")

    def parts(self, context: Context) -> tuple[Part, ...]:
        """One vector: the differences of all shared tensors, in the layout's order."""
        shared = context.layout.of_kind("shared")
        return (Part(UPDATE, values_of(shared), tensors=shared),)

    def init(self, model: Adapter) -> State:
        """The state is the adapter itself."""
        return model.tensors

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """W ← W + η·mean update."""
        return moved(state, context, aggregate.mean(UPDATE) * self._rate)

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """The adapter's tensors in the state."""
        return Adapter(layout, {spec.name: state[spec.name] for spec in layout.specs})

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """Each tensor from the site's memory, else as received, else its first value."""
        known = {**first, **received, **memory}
        return Start({spec.name: known[spec.name] for spec in context.layout.specs})

    def upload(self, received: Tensors, trained: Trained, memory: Memory, context: Context) -> Payload:
        """The differences, end to end."""
        names = [spec.name for spec in context.layout.of_kind("shared")]
        return {UPDATE: flatten(trained.tensors, names) - flatten(received, names)}

    def remember(
        self,
        payload: Payload,
        factors: Mapping[str, float],
        trained: Trained,
        memory: Memory,
        context: Context,
    ) -> Memory:
        """Nothing is kept."""
        return memory


def moved(state: State, context: Context, by: NDArray[np.float64]) -> State:
    """The state with its shared tensors moved by a vector of all their values, in the layout's order."""
    steps = unflatten(by, context.layout.of_kind("shared"))
    return {**state, **{name: state[name] + step for name, step in steps.items()}}

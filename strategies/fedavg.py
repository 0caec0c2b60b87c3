"""FedAvg over LoRA tensors.

McMahan et al. 2017 (arXiv 1602.05629), Algorithm 1, applied to A, B and the head as FedIT does
(arXiv 2305.05644, section 3.2). Sites send differences to what they received, which have a smaller
range than the tensors: W ← W + η·Σ p_k (W_k − W).
"""

from typing import Literal

from sealora.models.adapter import Adapter, AdapterLayout, Tensors, flatten, unflatten
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Broadcast, Memory, Part, Payload, Start, State


class FedAvg:
    """Every shared tensor is trained, sent as a difference, and replaced by the weighted mean."""

    sees: Literal["sum", "groups", "each"] = "sum"

    def __init__(self, settings: StrategySettings) -> None:
        self._step = settings.server_learning_rate

    def parts(self, layout: AdapterLayout) -> tuple[Part, ...]:
        """One vector: the differences of all shared tensors, in the layout's order."""
        return (Part("update", sum(spec.size for spec in layout.of_kind("shared"))),)

    def init(self, model: Adapter) -> State:
        """The state is the adapter itself."""
        return model.tensors

    def open(self, state: State, layout: AdapterLayout, round_number: int) -> Broadcast:
        """Send everything, train what is shared."""
        return Broadcast(state, tuple(spec.name for spec in layout.of_kind("shared")))

    def step(self, state: State, layout: AdapterLayout, aggregate: Aggregate) -> State:
        """W ← W + η·mean update."""
        updates = unflatten(aggregate.mean("update") * self._step, layout.of_kind("shared"))
        return {**state, **{name: state[name] + update for name, update in updates.items()}}

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """The state is the adapter itself."""
        return Adapter(layout, state)

    def local(self, broadcast: Broadcast, memory: Memory, rank: int) -> Start:
        """Start from what was received."""
        return Start(broadcast.tensors)

    def upload(self, broadcast: Broadcast, trained: Tensors, memory: Memory) -> tuple[Payload, Memory]:
        """The differences, end to end."""
        names = sorted(broadcast.trains)
        return {"update": flatten(trained, names) - flatten(broadcast.tensors, names)}, memory

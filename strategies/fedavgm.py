"""FedAvgM: momentum at the coordinator.

Hsu et al. 2019 (arXiv 1909.06335), section 4.3: v ← β·v + Δ, W ← W + η·v, with Δ the mean update.
"""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from sealora.models.adapter import Adapter, values_of
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import UPDATE, FedAvg, moved
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Card, Context, State

VELOCITY = "fedavgm/velocity"
"""v in the state: all shared values end to end."""


class FedAvgMOptions(Settings):
    """How long the coordinator's momentum lasts."""

    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Share β of the velocity that is kept from round to round; 0 is FedAvg."""


class FedAvgM(FedAvg):
    """FedAvg with momentum at the coordinator; sites notice nothing."""

    options_class: ClassVar[type[FedAvgMOptions]] = FedAvgMOptions
    card: ClassVar[Card] = Card(
        summary="Momentum over the rounds smooths what cohorts with different data want.",
        source="Hsu et al. 2019, arXiv 1909.06335",
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._beta = self.options_class.model_validate(settings.options).beta

    def init(self, model: Adapter) -> State:
        """v = 0."""
        shared = self.layout(model.layout, 1).of_kind("shared")
        return {**model.tensors, VELOCITY: np.zeros(values_of(shared), np.float32)}

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """v ← β·v + Δ, W ← W + η·v."""
        velocity = self._beta * state[VELOCITY].astype(np.float64) + aggregate.mean(UPDATE)
        return {**moved(state, context, self._rate * velocity), VELOCITY: velocity.astype(np.float32)}

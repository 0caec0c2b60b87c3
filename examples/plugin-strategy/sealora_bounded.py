"""A strategy of a package of its own: FedAvg whose mean update is bounded."""

from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import UPDATE, FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Card, Context, State


class BoundedOptions(Settings):
    """How far a round may move the model."""

    largest_step: Annotated[float, Field(gt=0)] = 1.0
    """Largest L2 norm of the mean update; a larger one is scaled down to it."""


class Bounded(FedAvg):
    """FedAvg whose mean update is bounded."""

    options_class: ClassVar[type[Settings]] = BoundedOptions
    card: ClassVar[Card] = Card(summary="Bounds how far one round moves the model.", source="an example")

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._largest = BoundedOptions.model_validate(settings.options).largest_step

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """W ← W + min(1, c / ‖Δ‖)·η·Δ."""
        norm = float(np.linalg.norm(aggregate.mean(UPDATE)))
        factor = min(1.0, self._largest / norm) if norm > 0 else 1.0
        bounded = replace(aggregate, sums={UPDATE: aggregate.sums[UPDATE] * factor})
        return super().step(state, context, bounded)

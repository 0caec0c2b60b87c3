"""FedOpt: the coordinator takes the mean update for a gradient, and an adaptive optimiser for its step.

Reddi et al. 2021 (arXiv 2003.00295), algorithm 2, with Δ the mean update:
m ← β₁·m + (1 − β₁)·Δ; v by the optimiser's rule, from v = τ²; W ← W + η·m / (√v + τ).
As published, neither moment is corrected for its start.
"""

from abc import abstractmethod
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sealora.models.adapter import Adapter, values_of
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import UPDATE, FedAvg, moved
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Context, State

FIRST, SECOND = "fedopt/first", "fedopt/second"
"""m and v in the state: all shared values end to end."""

Moment = NDArray[np.float64]
Decay = Annotated[float, Field(ge=0, lt=1)]


class FedOptOptions(Settings):
    """The moments of the coordinator's optimiser."""

    beta1: Decay = 0.9
    """Share β₁ of the first moment that is kept from round to round."""
    tau: Annotated[float, Field(ge=1e-9, le=1)] = 1e-3
    """Adaptivity τ: updates far below it move the model in proportion, others by their sign."""


class FedOpt(FedAvg):
    """FedAvg with an adaptive step; a subclass says how the second moment goes on."""

    options_class: ClassVar[type[Settings]] = FedOptOptions

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        options = self.options_class.model_validate(settings.options)
        assert isinstance(options, FedOptOptions)
        self._beta1, self._tau = options.beta1, options.tau

    @abstractmethod
    def second_moment(self, before: Moment, update: Moment) -> Moment:
        """The next v."""

    def init(self, model: Adapter) -> State:
        """m = 0, v = τ²."""
        zero = np.zeros(values_of(model.layout.of_kind("shared")), np.float32)
        return {**model.tensors, FIRST: zero, SECOND: zero + np.float32(self._tau**2)}

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """W ← W + η·m / (√v + τ)."""
        update = aggregate.mean(UPDATE)
        first = self._beta1 * state[FIRST].astype(np.float64) + (1 - self._beta1) * update
        second = self.second_moment(state[SECOND].astype(np.float64), update)
        step = self._rate * first / (np.sqrt(second) + self._tau)
        moments = {FIRST: first.astype(np.float32), SECOND: second.astype(np.float32)}
        return {**moved(state, context, step), **moments}

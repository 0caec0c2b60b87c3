"""What rules that withstand attackers have in common: one update from several, most of them honest.

A rule combines the updates of single sites, which only a session without masks shows; or, with `groups`,
the mean updates of fixed groups, each summed securely: an attacker then spoils the mean of one group. All
updates count equally, as an attacker would claim any weight: W ← W + η·rule(Δ_1, …, Δ_n).
"""

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import UPDATE, FedAvg, moved
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Context, Part, State

Updates = NDArray[np.float64]
"""One update a row, shape (updates, values)."""


class RobustOptions(Settings):
    """How many attackers there may be, and whether single sites or groups are compared."""

    attackers: Annotated[int, Field(ge=0, le=10_000)] = 1
    """Malicious sites f that the rule withstands, wherever they are."""
    groups: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Fixed groups of sites whose sums are compared; 0 compares single sites, without secure aggregation."""


class Robust(FedAvg):
    """FedAvg with another rule than the mean."""

    options_class: ClassVar[type[Settings]] = RobustOptions

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        options = self.options_class.model_validate(settings.options)
        assert isinstance(options, RobustOptions)
        self.sees: Literal["sum", "groups", "each"] = "groups" if options.groups else "each"
        self.groups = options.groups
        self._attackers = options.attackers

    @property
    def least(self) -> int:
        """2f + 1: the honest ones are in the majority."""
        return 2 * self._attackers + 1

    @abstractmethod
    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """One update from at least one, of which that many, fewer than half, may be anything."""

    def parts(self, context: Context) -> tuple[Part, ...]:
        """The update, unweighted."""
        (update,) = super().parts(context)
        return (replace(update, weighted=False),)

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """W ← W + η·rule."""
        updates = np.stack([one.sums[UPDATE] / one.contributors for one in aggregate.apart])
        # Who sent nothing valid was an attacker, so with fewer updates fewer attackers are left.
        attackers = min(self._attackers, (len(updates) - 1) // 2)
        return moved(state, context, self._rate * self.combine(updates, attackers))

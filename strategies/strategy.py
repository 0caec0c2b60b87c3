"""The interface of a strategy: two pure halves around the sum of the sites' uploads.

The coordinator's half is `init`, `open` and `step`; the site's half is `local` and `upload`.
A strategy never samples, transports or adds noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora.models.adapter import Adapter, AdapterLayout, Tensors

State = Tensors
"""What the coordinator keeps between rounds: named float32 tensors, checkpointed as they are."""
Memory = Tensors
"""What a site keeps between rounds: named float32 tensors that never leave it."""

GradientTerm = Callable[[Tensors], Tensors]
"""Added to the loss gradient at each step: current trainable tensors → gradients to add."""


@dataclass(frozen=True)
class Broadcast:
    """What the coordinator sends to every site of a round: named tensors, and which names train."""

    tensors: Tensors = field(repr=False)
    trains: tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """Where a site's training starts: every tensor of its adapter, and perhaps a gradient term."""

    tensors: Tensors = field(repr=False)
    gradient_term: GradientTerm | None = None


@dataclass(frozen=True)
class Part:
    """One named vector of an upload. `weighted` vectors are multiplied by the site's weight."""

    name: str
    length: int
    weighted: bool = True


Payload = Mapping[str, NDArray[np.float32]]
"""An upload: one vector for each part, before clipping, weighting and encoding."""


@dataclass(frozen=True)
class Aggregate:
    """What the coordinator may see of a round's uploads.

    `sums` holds Σ w_k·x_k (or Σ x_k for unweighted parts), float64; `weight` is Σ w_k with
    0 < w_k ≤ 1; `contributors` counts the sites in the sum.
    """

    sums: Mapping[str, NDArray[np.float64]] = field(repr=False)
    weight: float
    contributors: int

    def mean(self, name: str) -> NDArray[np.float64]:
        """The weighted mean Σ w_k·x_k / Σ w_k of a weighted part."""
        return self.sums[name] / self.weight


class Strategy(Protocol):
    """See the module's docstring; arrays are float32 unless said otherwise."""

    sees: Literal["sum", "groups", "each"]
    """What `step` needs to see: only the sum, sums of fixed groups, or each upload."""

    def parts(self, layout: AdapterLayout) -> tuple[Part, ...]:
        """The vectors of an upload, known from the plan alone."""

    def init(self, model: Adapter) -> State:
        """The coordinator's first state."""

    def open(self, state: State, layout: AdapterLayout, round_number: int) -> Broadcast:
        """What the sites of this round receive."""

    def step(self, state: State, layout: AdapterLayout, aggregate: Aggregate) -> State:
        """The next state from this round's aggregate."""

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """The adapter that the state stands for: what is evaluated, saved and used."""

    def local(self, broadcast: Broadcast, memory: Memory, rank: int) -> Start:
        """Where this site starts."""

    def upload(self, broadcast: Broadcast, trained: Tensors, memory: Memory) -> tuple[Payload, Memory]:
        """What this site adds to the sum, and its next memory (kept only if the round completes)."""

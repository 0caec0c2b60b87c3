"""The interface of a strategy: two pure halves around the sum of the sites' uploads.

The coordinator's half is `init`, `step` and `model`; the site's half is `local`, `upload` and
`remember`; `layout`, `broadcast` and `parts` say beforehand, to both, what trains and what is sent.
A strategy never samples, transports or adds noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora.models.adapter import Adapter, AdapterLayout, Tensors, TensorSpec
from sealora.protocol.settings import Settings
from sealora.strategies.settings import StrategySettings

State = Tensors
"""What the coordinator keeps between rounds: named float32 tensors, checkpointed as they are."""
Memory = Tensors
"""What a site keeps between rounds: named float32 tensors that never leave it."""

FIGURE = "figure/"
"""Prefix of single values in the state that are told with a round's metrics."""

GradientTerm = Callable[[Tensors], Tensors]
"""Added to the loss gradient at each step: current trainable tensors → gradients to add."""


class NoOptions(Settings):
    """This strategy has no options."""


@dataclass(frozen=True)
class Card:
    """What people and plan checks need to know of a strategy before it runs."""

    summary: str
    """What it is for, in a sentence."""
    source: str
    """The publication."""
    arithmetic: Literal["linear", "sketch", "robust"] = "linear"
    """Whether the sum of the sites' vectors is all it needs, or sketches of products travel too, or it
    compares updates or sums of groups."""
    mixed_ranks: bool = False
    """Whether sites may have adapters of different ranks."""
    factors: bool = False
    """Whether it treats A and B apart, so that it needs adapters, not a head alone."""
    only_sgd: bool = False
    """Whether it takes a site's steps to be plain gradient steps."""
    rate: Literal["one", "written", "none"] = "one"
    """What `server_learning_rate` is: a factor of the mean update, which may stay 1; about what a value
    moves by in a round, which a plan must write down; or nothing, as the method sets the step itself."""
    record_privacy: bool = True
    """Whether a plan may give a privacy guarantee with it. Under one a site's loss is NaN and its rows 0
    (see Trained), so what a site sends can follow from nothing private but the trained tensors. False for a
    strategy that cannot do without loss or rows."""
    discloses: str = ""
    """What the coordinator learns beyond sums of the sites' A, B and head; empty for nothing."""


@dataclass(frozen=True)
class Context:
    """What both halves know of a round without telling each other: it follows from plan and header."""

    layout: AdapterLayout
    """The adapter, marked by the strategy for this round."""
    round: int
    """From 1; the evaluation after the last round has the number after it."""
    cohort: int
    """Sites that are asked, so the most that contribute."""
    seed: int
    """The plan's."""
    ranks: tuple[int, ...] = ()
    """Ranks of the cohort's adapters, in its order; empty where all have the layout's."""
    own_rank: int | None = None
    """Rank of this site's adapter; None for the layout's, which is the largest: the coordinator's view."""

    @property
    def own(self) -> AdapterLayout:
        """The layout at this site's rank."""
        return self.layout if self.own_rank is None else self.layout.of_rank(self.own_rank)

    @property
    def total_rank(self) -> int:
        """Largest rank that a sum of the cohort's products B·A can have."""
        return sum(self.ranks) if self.ranks else self.cohort * self.layout.rank


@dataclass(frozen=True)
class Start:
    """Where a site's training starts: every tensor of its own layout, and perhaps a gradient term."""

    tensors: Tensors = field(repr=False)
    gradient_term: GradientTerm | None = None


@dataclass(frozen=True)
class Trained:
    """The adapter after training, the loss summed over all rows seen, and their number."""

    tensors: Tensors = field(repr=False)
    loss: float
    rows: int
    steps: int
    """Steps of the local optimiser."""
    step_size: float
    """Mean step size over them."""


@dataclass(frozen=True)
class Part:
    """One named vector of an upload. `weighted` vectors are multiplied by the site's weight.

    Parts of one group are scaled down together, where their joint norm exceeds the plan's or a
    coordinate its part's range.
    """

    name: str
    length: int
    weighted: bool = True
    range: float | None = None
    """Largest magnitude of a coordinate; None takes the plan's `codec.range`."""
    group: str = ""
    tensors: tuple[TensorSpec, ...] = field(default=(), repr=False)
    """The tensors whose values it holds end to end, if it does: their kinds may have ranges of their own."""


Payload = Mapping[str, NDArray[np.float32]]
"""An upload: one vector for each part, before clipping, weighting and encoding."""


@dataclass(frozen=True)
class Aggregate:
    """What the coordinator may see of a round's uploads.

    `sums` holds Σ w_k·x_k (or Σ x_k for unweighted parts), float64; `weight` is Σ w_k with
    0 < w_k ≤ 1; `contributors` counts the sites in the sum, `sites` all there are, asked or not.
    `apart` are the aggregates that this one adds up: one for each group that has a sum where the strategy
    sees "groups", one for each contributor where it sees "each", and none where it sees the sum alone.
    A malicious site can claim any weight, also none: rules that compare should not divide by weights.
    """

    sums: Mapping[str, NDArray[np.float64]] = field(repr=False)
    weight: float
    contributors: int
    sites: int
    apart: "tuple[Aggregate, ...]" = field(default=(), repr=False)

    def mean(self, name: str) -> NDArray[np.float64]:
        """The weighted mean Σ w_k·x_k / Σ w_k of a weighted part."""
        return self.sums[name] / self.weight


class Strategy(Protocol):
    """See the module's docstring; arrays are float32 unless said otherwise."""

    sees: Literal["sum", "groups", "each"]
    """What `step` needs to see: only the sum, sums of fixed groups, or each upload."""
    groups: int
    """How many fixed groups there are where it sees those; 0 elsewhere."""
    options_class: ClassVar[type[Settings]]
    """The keys of `[strategy.options]`, with their defaults and bounds."""
    card: ClassVar[Card]
    """What `sealora strategies` tells."""

    def __init__(self, settings: StrategySettings) -> None:
        """From the plan; `settings.options` are valid for `options_class`."""

    @property
    def least(self) -> int:
        """Fewest groups or uploads with which `step` does what it promises; 1 where it sees the sum."""

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """The adapter with the kind of each tensor in that round; what is frozen stays frozen.

        Tensors of role "R" or "W" may be added, under the names that `models/additions.py` gives them.
        """

    def broadcast(self, context: Context) -> tuple[TensorSpec, ...]:
        """The tensors of the state that sites receive: names and shapes."""

    def parts(self, context: Context) -> tuple[Part, ...]:
        """The vectors of an upload. Raises PlanError where the plan's options do not suffice for it."""

    def init(self, model: Adapter) -> State:
        """The coordinator's first state, from the adapter's first values.

        The layout is that of round 1, without tensors that the strategy adds. One value under a name that
        begins with `FIGURE`, here or after a step, is told with the round's metrics.
        """

    def step(self, state: State, context: Context, aggregate: Aggregate) -> State:
        """The next state from this round's aggregate."""

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """The adapter that the state stands for: what is evaluated, saved and used.

        Of tensors A, B and "other" alone, at any rank and the layout's scale, so that peft can load it.
        """

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """Where this site starts; `first` are the adapter's first values, which no one has to send."""

    def upload(self, received: Tensors, trained: Trained, memory: Memory, context: Context) -> Payload:
        """What this site adds to the sum."""

    def remember(
        self,
        payload: Payload,
        factors: Mapping[str, float],
        trained: Trained,
        memory: Memory,
        context: Context,
    ) -> Memory:
        """This site's next memory, kept if it turns out to be in the sum.

        `factors` tells by how much each part was scaled down, in (0, 1], before it was weighted.
        """

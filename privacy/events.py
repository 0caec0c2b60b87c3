"""What was released: immutable events, their canonical JSON, and who turns them into ε.

A mechanism emits an event, an accountant consumes events, the ledger keeps them. An event says what
noise a release carried and nothing about data, so ε can be recomputed from events at any time.
An event of a kind that this version does not know is refused, never skipped.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from sealora.protocol.errors import RefusedError, UsageError

Relation = Literal["add-remove", "zero-out", "replace-one"]
"""Neighbouring data sets: one unit more or less; its contribution zeroed; its contents replaced."""

MAX_COUNT = 10**9
MAX_DEPTH = 8


@dataclass(frozen=True)
class GaussianRelease:
    """One sum over all units, each of L2 norm at most Δ, with N(0, (noise_multiplier·Δ)²) per coordinate."""

    noise_multiplier: float

    def __post_init__(self) -> None:
        _set_real(self, "noise_multiplier", 1e-3, 1e9)


@dataclass(frozen=True)
class PoissonSampledGaussian:
    """`steps` Gaussian releases, each over a fresh secret Poisson sample of the units (Abadi et al. 2016)."""

    noise_multiplier: float
    sampling_rate: float
    steps: int = 1

    def __post_init__(self) -> None:
        _set_real(self, "noise_multiplier", 1e-3, 1e9)
        _set_real(self, "sampling_rate", 1e-12, 1.0)
        _require_count(self, "steps")


@dataclass(frozen=True)
class DistributedDiscreteGaussian:
    """A securely aggregated sum to which every site adds discrete Gaussian noise (Kairouz et al. 2021).

    `local_deviation` is one site's σ and `norm_bound` the largest L2 norm of one contribution, both in
    grid units; `survivors` the honest sites whose noise is certain to be in the sum; `dimension` the
    number of coordinates. `sampler_distance` bounds the total variation distance between the noise of
    the whole release and its ideal; it is paid for out of δ.
    """

    local_deviation: float
    norm_bound: int
    survivors: int
    dimension: int
    sampler_distance: float = 0.0

    def __post_init__(self) -> None:
        _set_real(self, "local_deviation", 1e-3, 1e9)
        for name in ("norm_bound", "survivors", "dimension"):
            _require_count(self, name, 2**48)
        _set_real(self, "sampler_distance", 0.0, 1.0)


@dataclass(frozen=True)
class Composition:
    """Several events, one after another, the whole sequence `times` times."""

    events: "tuple[Event, ...]"
    times: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.events))
        _require_count(self, "times")
        if not self.events or _depth(self) > MAX_DEPTH:
            raise UsageError(f"a composition has at least one event and at most {MAX_DEPTH} levels.")


Atom = GaussianRelease | PoissonSampledGaussian | DistributedDiscreteGaussian
Event = Atom | Composition

KINDS: Mapping[str, type[Event]] = {
    "gaussian-release": GaussianRelease,
    "poisson-sampled-gaussian": PoissonSampledGaussian,
    "distributed-discrete-gaussian": DistributedDiscreteGaussian,
    "composition": Composition,
}
_NAMES = {cls: kind for kind, cls in KINDS.items()}


@dataclass(frozen=True)
class Budget:
    """The most that may ever be spent on one data set: (ε, δ)."""

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        _set_real(self, "epsilon", 1e-6, 1e6)
        # Below 1e-12, δ drowns in the rounding errors of the accountants' convolutions.
        _set_real(self, "delta", 1e-12, 0.5)


def require_delta(delta: float) -> None:
    """Raises UsageError unless δ is a probability between 0 and 1, for NaN too."""
    if not 0 < delta < 1:
        raise UsageError(f"δ = {delta!r} is no number between 0 and 1.", "Write one such as 1e-5.")


class Accountant(Protocol):
    """Turns events into a guarantee. Implementations are immutable and pure."""

    @property
    def name(self) -> str:
        """How reports name it."""

    @property
    def relation(self) -> Relation:
        """The neighbouring relation that its figures are about."""

    def epsilon(self, events: Iterable[Event], delta: float) -> float:
        """Smallest ε it can prove at δ for all events together; infinity where it can prove none.

        Raises: RefusedError for an event that it cannot account, UsageError for an impossible δ.
        """

    def delta(self, events: Iterable[Event], epsilon: float) -> float:
        """Smallest δ it can prove at ε. Raises: RefusedError for an event that it cannot account."""


def atoms(events: Iterable[Event], times: int = 1) -> dict[Atom, int]:
    """Count equal single releases, in an order that does not depend on the order of the events.

    Returns: releases of one step each, and how often each took place.
    Raises: RefusedError for an object that is no event.
    """
    counts: dict[Atom, int] = {}
    for event in events:
        for atom, count in _atoms_of(event).items():
            counts[atom] = counts.get(atom, 0) + count * times
    return dict(sorted(counts.items(), key=lambda item: canonical_json(item[0])))


def _atoms_of(event: Event) -> dict[Atom, int]:
    if type(event) not in _NAMES:
        raise RefusedError(f"{type(event).__name__} is not a privacy event, so it cannot be accounted.")
    if isinstance(event, Composition):
        return atoms(event.events, event.times)
    if isinstance(event, PoissonSampledGaussian):
        step: Atom = (
            replace(event, steps=1) if event.sampling_rate < 1 else GaussianRelease(event.noise_multiplier)
        )
        return {step: event.steps}
    return {event: 1}


def to_json(event: Event) -> dict[str, object]:
    """The event as JSON values. Raises: RefusedError for an object that is no event."""
    kind = _NAMES.get(type(event))
    if kind is None:
        raise RefusedError(f"{type(event).__name__} is not a privacy event, so it cannot be recorded.")
    fields: dict[str, object] = dict(vars(event))
    if isinstance(event, Composition):
        fields["events"] = [to_json(inner) for inner in event.events]
    return {"kind": kind, **fields}


def from_json(value: object, depth: int = MAX_DEPTH) -> Event:
    """The event that `to_json` wrote.

    Raises: RefusedError for an unknown kind; UsageError for missing, surplus or impossible fields.
    """
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str) or depth == 0:
        raise UsageError(f"a privacy event is an object with a kind, nested at most {MAX_DEPTH} deep.")
    fields = {name: field for name, field in value.items() if name != "kind"}
    cls = KINDS.get(value["kind"])
    if cls is None:
        raise RefusedError(
            f"a privacy event of the unknown kind {value['kind'][:64]!r} cannot be accounted.",
            "Use the version of Sealora that wrote it, or a newer one.",
        )
    if set(fields) != set(cls.__dataclass_fields__):
        raise UsageError(f"the fields of a {value['kind']} event are {', '.join(cls.__dataclass_fields__)}.")
    if cls is Composition:
        if not isinstance(fields["events"], list):
            raise UsageError("the events of a composition are a list.")
        fields["events"] = tuple(from_json(inner, depth - 1) for inner in fields["events"])
    return cls(**fields)


def canonical_json(value: object) -> bytes:
    """ASCII JSON with sorted keys and no spaces: equal values give equal bytes. Events are converted."""
    plain = to_json(value) if isinstance(value, Event) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _set_real(owner: object, name: str, low: float, high: float) -> None:
    """Check a real field and store it as float, so that 1 and 1.0, or 0.0 and -0.0, are the same event."""
    value = getattr(owner, name)
    # A bool is an int to Python; as a noise multiplier it is a mistake. NaN fails both comparisons.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name} = {value!r} is not a number from {low:g} to {high:g}.")
    object.__setattr__(owner, name, float(value) + 0.0)


def _require_count(owner: object, name: str, most: int = MAX_COUNT) -> None:
    value = getattr(owner, name)
    if type(value) is not int or not 1 <= value <= most:
        raise UsageError(f"{name} = {value!r} is not a whole number from 1 to {most}.")


def _depth(event: Event) -> int:
    return 1 + max(map(_depth, event.events)) if isinstance(event, Composition) else 1

"""From one guarantee to another: groups of units, and replaced units."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from sealora.privacy.events import (
    Accountant,
    Composition,
    DistributedDiscreteGaussian,
    Event,
    GaussianRelease,
    Relation,
)
from sealora.protocol.errors import RefusedError

LARGEST_EPSILON = 700.0
"""Largest ε of the closed forms: exp overflows above it."""


def scale_sensitivity(event: Event, factor: int) -> Event:
    """The same release for neighbours that move it `factor` times as far.

    A group of k units has factor k. Replacing a unit has factor 2: it takes one contribution away and
    adds another.
    Raises: RefusedError for a sampled release, where a group is not a larger unit: its members are
    sampled one by one.
    """
    if isinstance(event, Composition):
        return Composition(tuple(scale_sensitivity(inner, factor) for inner in event.events), event.times)
    if isinstance(event, GaussianRelease):
        return GaussianRelease(event.noise_multiplier / factor)
    if isinstance(event, DistributedDiscreteGaussian):
        return replace(event, norm_bound=event.norm_bound * factor)
    if event.sampling_rate == 1.0:
        return replace(event, noise_multiplier=event.noise_multiplier / factor)
    raise RefusedError(
        "the sensitivity of a Poisson-sampled release cannot be scaled.",
        "Use the pld accountant for replaced units, and group_epsilon for groups.",
    )


def group_delta(size: int, epsilon: float, delta: float) -> tuple[float, float]:
    """(ε, δ) for one unit → (k·ε, δ·(1 + e^ε + … + e^((k−1)ε))) for k units (Vadhan 2017, lemma 2.2)."""
    if size * epsilon > LARGEST_EPSILON:
        return size * epsilon, 1.0
    return size * epsilon, min(1.0, delta * math.fsum(math.exp(i * epsilon) for i in range(size)))


def group_epsilon(accountant: Accountant, events: Sequence[Event], size: int, delta: float) -> float:
    """ε at δ for a group of `size` units, by group privacy along the whole curve δ(ε) of one unit.

    Holds for every kind of event; `scale_sensitivity` is tighter where it applies. Infinity beyond 700.
    """
    low, high = 0.0, LARGEST_EPSILON / size

    def suffices(epsilon: float) -> bool:
        return group_delta(size, epsilon, accountant.delta(events, epsilon))[1] <= delta

    if suffices(low):
        return low
    if not suffices(high):
        high = 1.0
        while not suffices(high):
            high *= 1.5
            if high * size > LARGEST_EPSILON:
                return math.inf
    # `high` always suffices, so the answer holds even where the curve is not monotone.
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return size * high


def epsilon_at_once(
    accountant: Callable[[Relation], Accountant],
    relation: Relation,
    events: Sequence[Event],
    size: int,
    delta: float,
) -> float:
    """ε at δ for `size` units at once, by an accountant that is made for the relation.

    Tight for one unit where the accountant can account the relation. One that cannot account replacements
    of sampled units counts each as two: a unit is removed and another added. Infinity beyond 700.
    """
    try:
        made = accountant(relation)
        return made.epsilon(events, delta) if size == 1 else group_epsilon(made, events, size, delta)
    except RefusedError:
        if relation != "replace-one":
            raise
        return group_epsilon(accountant("add-remove"), events, 2 * size, delta)

"""From one guarantee to another: Gaussian differential privacy, groups, replaced units, several sites."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sealora.privacy.events import (
    Accountant,
    Composition,
    DistributedDiscreteGaussian,
    Event,
    GaussianRelease,
)
from sealora.protocol.errors import RefusedError, UsageError

LARGEST_EPSILON = 700.0
"""Largest ε of the closed forms: exp overflows above it."""


def gdp_mu(noise_multiplier: float, releases: int = 1) -> float:
    """μ of `releases` Gaussian releases without sampling: √T/z, exact (Dong, Roth & Su 2022, cor. 3.3)."""
    return math.sqrt(releases) / noise_multiplier


def gdp_delta(mu: float, epsilon: float) -> float:
    """Exact δ of μ-GDP at ε: Φ(−ε/μ + μ/2) − e^ε·Φ(−ε/μ − μ/2) (Balle & Wang 2018, theorem 8)."""
    if epsilon > LARGEST_EPSILON:
        return _normal_cdf(mu / 2 - epsilon / mu)
    return max(
        0.0, _normal_cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * _normal_cdf(-mu / 2 - epsilon / mu)
    )


def gdp_epsilon(mu: float, delta: float) -> float:
    """Smallest ε of μ-GDP at δ, from above to 1e-12; infinity beyond 700."""
    if gdp_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, LARGEST_EPSILON
    if gdp_delta(mu, high) > delta:
        return math.inf
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if gdp_delta(mu, middle) > delta else (low, middle)
    return high


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


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


def worst_site(
    accountant: Accountant, events_by_site: Mapping[str, Sequence[Event]], delta: float
) -> tuple[str, float]:
    """The site with the largest ε and that ε: the run's, if no unit is at two sites.

    Raises: UsageError without sites.
    """
    if not events_by_site:
        raise UsageError("no site has reported its events, so the run has no ε.")
    spent = {site: accountant.epsilon(events, delta) for site, events in events_by_site.items()}
    worst = max(sorted(spent), key=lambda site: spent[site])
    return worst, spent[worst]


def overlapping_epsilon(
    accountant: Accountant, events_at_sites: Iterable[Sequence[Event]], delta: float
) -> float:
    """ε for a unit that is at all of these sites: what they released composes."""
    return accountant.epsilon([event for events in events_at_sites for event in events], delta)


def gradient_noise_multiplier(noise_multiplier: float, count_deviation: float) -> float:
    """z_Δ of the sum, where a noisy count of clipped units is released too (Andrew et al. 2021, theorem 1).

    The count is of ±½ votes with noise σ_b; z_Δ = (z⁻² − (2σ_b)⁻²)^(−1/2), so that both releases
    together cost what one of `noise_multiplier` costs.
    Raises: UsageError if the count alone costs that much.
    """
    rest = noise_multiplier**-2 - (2 * count_deviation) ** -2
    if rest <= 0:
        raise UsageError(
            f"a count with noise {count_deviation:g} spends the whole noise multiplier {noise_multiplier:g}.",
            f"Give the count a noise above {noise_multiplier / 2:g}.",
        )
    return float(rest**-0.5)


def certain_survivors(minimum: int, threshold: int, colluding: int) -> int:
    """Honest sites whose noise is certain to be in a sum: max(minimum, threshold) − colluding.

    Raises: UsageError if there are none.
    """
    survivors = max(minimum, threshold) - colluding
    if survivors < 1:
        raise UsageError(
            f"of {max(minimum, threshold)} sites {colluding} may collude: no honest noise is certain.",
            "Raise the quorum or assume fewer colluding sites.",
        )
    return survivors

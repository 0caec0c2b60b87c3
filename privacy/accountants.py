"""Two accountants over one interface, both on Google's dp-accounting.

`PldAccountant` composes privacy loss distributions, rounded pessimistically (Doroshenko et al. 2022,
"Connect the Dots"): tight, for Gaussian noise. `RdpAccountant` composes Rényi divergences (Mironov
2017): an upper bound that also covers distributed discrete noise.
"""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import rdp_privacy_accountant as rdp
from numpy.typing import NDArray

from sealora.privacy.conversions import scale_sensitivity
from sealora.privacy.events import (
    Accountant,
    Atom,
    DistributedDiscreteGaussian,
    Event,
    GaussianRelease,
    PoissonSampledGaussian,
    Relation,
    atoms,
    require_delta,
)
from sealora.protocol.errors import RefusedError

Profile = tuple[tuple[Atom, int], ...]

INTERVAL = 1e-4
"""Step of the grid of privacy losses; the reference figures move by less than 2e-4 below it."""
GRID_POINTS = 2**18
"""Most grid points of one distribution: about 4 MB and half a second."""
VACUOUS_INTERVAL = 0.1
"""A loss that would need a coarser grid than this has an ε in the thousands, which promises nothing."""

ORDERS: tuple[float, ...] = (
    *(round(1.5 + step / 100, 2) for step in range(350)),
    *(round(5 + step / 50, 2) for step in range(100)),
    *(round(7 + step / 10, 1) for step in range(50)),
    *map(float, range(12, 64)),
    *(64.0, 80.0, 96.0, 128.0, 192.0, 256.0, 512.0, 1024.0),
)
"""Rényi orders; pinned, because ε depends on them in the third decimal."""

_NEIGHBOURS = {
    "add-remove": NeighboringRelation.ADD_OR_REMOVE_ONE,
    "zero-out": NeighboringRelation.REPLACE_SPECIAL,
    "replace-one": NeighboringRelation.REPLACE_ONE,
}


def _is_news(record: logging.LogRecord) -> bool:
    """Drop dp-accounting's note that it leaves out an order: the bound stays valid without it."""
    return "_compute_log_a_frac failed to converge" not in str(record.msg)


logging.getLogger("absl").addFilter(_is_news)


@dataclass(frozen=True)
class PldAccountant:
    """Privacy loss distributions on a grid of `interval`, coarser only where the loss is large.

    Every rounding is upwards, so ε is never below the truth (but for convolution errors near 1e-15 in δ).
    """

    relation: Relation = "add-remove"
    interval: float = INTERVAL

    @property
    def name(self) -> str:
        """The name used in plans and reports."""
        return "pld"

    def epsilon(self, events: Iterable[Event], delta: float) -> float:
        """ε at δ. Raises: RefusedError for distributed discrete noise."""
        require_delta(delta)
        return _pld_epsilon(self, tuple(atoms(events).items()), delta)

    def delta(self, events: Iterable[Event], epsilon: float) -> float:
        """δ at ε. Raises: RefusedError for distributed discrete noise."""
        distribution = _distribution(self, tuple(atoms(events).items()))
        return 1.0 if distribution is None else float(distribution.get_delta_for_epsilon(epsilon))


@functools.lru_cache(maxsize=4096)
def _pld_epsilon(accountant: PldAccountant, profile: Profile, delta: float) -> float:
    if not profile:
        return 0.0
    distribution = _distribution(accountant, profile)
    return math.inf if distribution is None else float(distribution.get_epsilon_for_delta(delta))


@functools.lru_cache(maxsize=8)
def _distribution(accountant: PldAccountant, profile: Profile) -> pld.PrivacyLossDistribution | None:
    """Privacy loss of the whole profile; None where it is too large to promise anything."""
    interval = _interval(accountant.interval, profile)
    if interval > VACUOUS_INTERVAL:
        return None
    total = pld.identity(value_discretization_interval=interval)
    # Releases without sampling compose to one Gaussian, exactly: μ² = Σ 1/z² (Dong et al. 2022, cor. 3.3).
    mu = math.sqrt(sum(n / a.noise_multiplier**2 for a, n in profile if isinstance(a, GaussianRelease)))
    if mu > 0:
        total = total.compose(_gaussian(1 / mu, 1.0, interval, accountant.relation))
    for atom, count in profile:
        if isinstance(atom, PoissonSampledGaussian):
            step = _gaussian(atom.noise_multiplier, atom.sampling_rate, interval, accountant.relation)
            total = total.compose(step.self_compose(count))
    return total


@functools.lru_cache(maxsize=16)
def _gaussian(
    deviation: float, rate: float, interval: float, relation: Relation
) -> pld.PrivacyLossDistribution:
    return pld.from_gaussian_mechanism(
        deviation,
        value_discretization_interval=interval,
        sampling_prob=rate,
        neighboring_relation=_NEIGHBOURS[relation],
    )


def _interval(finest: float, profile: Profile) -> float:
    """The finest grid of finest·2^k that holds the loss in about GRID_POINTS points.

    The width of the loss is estimated from the Gaussian that the profile tends to: μ²/2 ± 10μ, with
    μ² = T·q²·(exp(1/z²) − 1) for a sampled release (Bu et al. 2020) or T/z², whichever is smaller.
    A wrong estimate costs tightness or time, never validity.
    """
    square, width = 0.0, 0.0
    for atom, count in profile:
        if isinstance(atom, DistributedDiscreteGaussian):
            raise RefusedError(
                "the pld accountant cannot account distributed discrete noise.", "Set the accountant to rdp."
            )
        inverse = atom.noise_multiplier**-2
        if isinstance(atom, PoissonSampledGaussian):
            width += inverse / 2 + 10 * math.sqrt(inverse)
            square += count * min(inverse, atom.sampling_rate**2 * math.expm1(min(inverse, 700)))
        else:
            square += count * inverse
    width += square / 2 + 10 * math.sqrt(square)
    doublings = math.ceil(math.log2(max(width, finest) / (finest * GRID_POINTS)))
    return finest * 2.0 ** max(0, doublings)


@dataclass(frozen=True)
class RdpAccountant:
    """Rényi divergences at pinned orders, converted by Canonne, Kamath & Steinke 2020, proposition 12."""

    relation: Relation = "add-remove"
    orders: tuple[float, ...] = ORDERS

    @property
    def name(self) -> str:
        """The name used in plans and reports."""
        return "rdp"

    def epsilon(self, events: Iterable[Event], delta: float) -> float:
        """ε at δ. Raises: RefusedError for a sampled release under the replace-one relation."""
        require_delta(delta)
        counts = atoms(events)
        curve = self._curve(counts)
        return _with_imperfect_noise(
            lambda left: float(rdp.compute_epsilon(self.orders, curve, left)[0]), delta, _distance(counts)
        )

    def delta(self, events: Iterable[Event], epsilon: float) -> float:
        """δ at ε. Raises: RefusedError for a sampled release under the replace-one relation."""
        counts = atoms(events)
        ideal = float(rdp.compute_delta(self.orders, self._curve(counts), epsilon)[0])
        distance = _distance(counts)
        # exp overflows beyond 700; e^700 times any positive distance is above 1 already.
        return min(1.0, ideal + (distance * (1 + math.exp(min(epsilon, 700))) if distance else 0.0))

    def _curve(self, counts: Mapping[Atom, int]) -> NDArray[np.float64]:
        """Rényi divergence at every order, shape (orders,)."""
        total = np.zeros(len(self.orders))
        for atom, count in counts.items():
            total += float(count) * _divergences(atom, self.relation, self.orders)
        return total


@functools.lru_cache(maxsize=256)
def _divergences(atom: Atom, relation: Relation, orders: tuple[float, ...]) -> NDArray[np.float64]:
    if relation == "replace-one":
        (atom,) = atoms([scale_sensitivity(atom, 2)])
    if isinstance(atom, DistributedDiscreteGaussian):
        return np.array([distributed_divergence(atom, order) for order in orders])
    event = GaussianDpEvent(atom.noise_multiplier)
    rate = atom.sampling_rate if isinstance(atom, PoissonSampledGaussian) else 1.0
    accountant = rdp.RdpAccountant(orders).compose(PoissonSampledDpEvent(rate, event))
    return np.asarray(accountant.rdp, dtype=np.float64)


def distributed_divergence(event: DistributedDiscreteGaussian, order: float) -> float:
    """Rényi divergence of one release with noise from `survivors` sites (Kairouz et al. 2021, cor. 12).

    min{α·Δ²/2σ² + τ·d, α/2·(Δ/σ + √d·τ)²}, where σ² = m·σ_local² and
    τ = 10·Σ_{k<m} exp(−2π²σ_local²·k/(k+1)) is what a sum of discrete Gaussians lacks of being one.
    """
    exponent = -2 * math.pi**2 * event.local_deviation**2
    # The terms fall with k, so the thousandth bounds the rest.
    exact = min(event.survivors, 1000)
    gap = sum(math.exp(exponent * k / (k + 1)) for k in range(1, exact))
    gap = 10 * (gap + (event.survivors - exact) * math.exp(exponent * exact / (exact + 1)))
    ratio = event.norm_bound / (event.local_deviation * math.sqrt(event.survivors))
    return min(
        order * ratio**2 / 2 + gap * event.dimension,
        order / 2 * (ratio + math.sqrt(event.dimension) * gap) ** 2,
    )


def _distance(counts: Mapping[Atom, int]) -> float:
    """Total variation distance of all releases from their ideal: distances add up under composition."""
    return sum(
        n * atom.sampler_distance
        for atom, n in counts.items()
        if isinstance(atom, DistributedDiscreteGaussian)
    )


def _with_imperfect_noise(epsilon: Callable[[float], float], delta: float, distance: float) -> float:
    """ε at δ where the noise is within a total variation `distance` of the noise accounted for.

    P' ≤ P + ζ and Q ≤ Q' + ζ give δ' = δ + (1 + e^ε)·ζ; so that much of δ is set aside, a little too
    much at a time until it suffices for the ε that the rest of δ gives.
    """
    if distance == 0:
        return epsilon(delta)
    reserved = 2 * distance
    while reserved < delta:
        result = epsilon(delta - reserved)
        if result > 700:
            break
        needed = distance * (1 + math.exp(result))
        if needed <= reserved:
            return result
        reserved = 1.01 * needed
    return math.inf


ACCOUNTANTS: Mapping[str, Callable[[Relation], Accountant]] = {
    "pld": PldAccountant,
    "rdp": RdpAccountant,
}
"""Accountants by the names that plans use."""

"""Who shares secrets and masks with whom: everybody up to 200 sites, a random regular graph above.

The complete graph is the one called secure against a malicious coordinator. The k-regular graph
keeps traffic and time at k instead of n for each site; its degree and threshold follow the rule
that Google publishes with its implementation (fcp/secagg, graph_parameter_finder; Bell et al. 2020,
section 3.4), for a coordinator that is curious but follows the protocol: *semi-honest*.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, floor, lgamma, log

import numpy as np

from sealora.protocol.keystream import Keystream, derive_key

COMPLETE_UP_TO = 200
SECURITY_BITS = 40
"""Statistical security: a secret leaks or the graph falls apart with probability at most 2^-40."""
CORRECTNESS_BITS = 20
"""A site's secret is lost with probability at most 2^-20."""
LEAST_CORRUPT = 0.05
"""Fraction of sites that a sparse graph withstands even where the plan assumes fewer colluders."""
ROUNDING = 1e-14


@dataclass(frozen=True)
class Shape:
    """Degree of the graph, threshold of the secret sharing, and the adversary it withstands."""

    degree: int
    threshold: int
    adversary: str


def shape(sites: int, colluders: int, threshold: int, least: int) -> Shape:
    """The graph for `sites` sites, of which at least `least` stay; `threshold` is t.

    Where no sparse graph meets the bounds the graph is complete: slower, never weaker.
    """
    complete = Shape(sites - 1, threshold, "malicious")
    if sites <= COMPLETE_UP_TO:
        return complete
    sparse = regular(sites, max(colluders / sites, LEAST_CORRUPT), (sites - least) / sites)
    return complete if sparse is None else Shape(*sparse, "semi-honest")


class Neighbourhoods:
    """For each position its neighbours and itself, ascending, worked out when somebody asks.

    The sparse graph is a Harary graph, a ring in which everybody knows the degree/2 next on each
    side, over an order drawn from `seed`.
    """

    def __init__(self, sites: int, degree: int, seed: bytes) -> None:
        self._everybody = tuple(range(sites)) if degree >= sites - 1 else ()
        self._reach = np.arange(-(degree // 2), degree // 2 + 1)
        keystream = Keystream(derive_key("sealora/v1/graph", seed))
        self._order = np.argsort(keystream.words32(2 * sites).view("<u8"), kind="stable")
        self._places = np.argsort(self._order, kind="stable")
        self._known: dict[int, tuple[int, ...]] = {}

    def __getitem__(self, position: int) -> tuple[int, ...]:
        if self._everybody:
            return self._everybody
        if position not in self._known:
            around = self._order[(self._places[position] + self._reach) % self._order.size]
            self._known[position] = tuple(np.sort(around).tolist())
        return self._known[position]


@lru_cache(maxsize=64)
def regular(sites: int, corrupt: float, drop: float) -> tuple[int, int] | None:
    """(k, t): the least even degree, and its threshold, that meet both bounds; None if none does.

    `corrupt` and `drop` are the fractions of sites that collude and that fall away. t is one more
    than the number of colluding neighbours that some site has with probability 2^-41 at most, and
    the graph of honest survivors falls apart with probability 2^-41 at most.
    """
    for degree in range(2, sites - 1, 2):
        if _log_disconnected(sites, degree, corrupt, drop) >= -(SECURITY_BITS + 1) * log(2):
            continue
        colluding = _most(sites, floor((corrupt + ROUNDING) * sites), degree)
        surviving = _fewest(sites, ceil((1 - drop - ROUNDING) * sites), degree)
        if surviving > colluding:
            return degree, max(colluding + 1, 2)
    return None


def _log_disconnected(sites: int, degree: int, corrupt: float, drop: float) -> float:
    """Union bound on cutting the ring: two runs of degree/2 bad sites, at any pair of places."""
    bad = floor((corrupt + ROUNDING) * sites) + floor((drop + ROUNDING) * sites)
    if degree > bad:
        return -np.inf
    places = log(sites) + log(sites - degree - 1) - log(2)
    falling = lgamma(bad + 1) - lgamma(bad - degree + 1)
    return places + falling + lgamma(sites - degree + 1) - lgamma(sites + 1)


def _most(sites: int, marked: int, degree: int) -> int:
    """Least number that a neighbourhood's marked sites exceed with probability ≤ 2^-41 / n."""
    allowed, tail = 2.0 ** -(SECURITY_BITS + 1) / sites, 0.0
    for count, probability in _hypergeometric(sites, marked, degree, descending=True):
        tail += probability
        if tail > allowed:
            return count
    return 0


def _fewest(sites: int, marked: int, degree: int) -> int:
    """Least number that a neighbourhood's marked sites stay at or below with probability ≥ 2^-20 / n."""
    allowed, tail = 2.0**-CORRECTNESS_BITS / sites, 0.0
    for count, probability in _hypergeometric(sites, marked, degree, descending=False):
        tail += probability
        if tail >= allowed:
            return count
    return degree


def _hypergeometric(sites: int, marked: int, drawn: int, descending: bool) -> Iterator[tuple[int, float]]:
    """(count, probability) of marked sites among `drawn` of `sites`."""
    counts = range(max(0, drawn + marked - sites), min(drawn, marked) + 1)
    for count in reversed(counts) if descending else counts:
        ways = _log_choose(marked, count) + _log_choose(sites - marked, drawn - count)
        yield count, exp(ways - _log_choose(sites, drawn))


def _log_choose(total: int, chosen: int) -> float:
    return lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)

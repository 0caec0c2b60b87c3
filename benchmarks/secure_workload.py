"""The cohorts and vectors that secure_aggregation.py measures, in full and quick."""

from dataclasses import dataclass

import numpy as np

from sealora.protocol import graph
from sealora.protocol.codec import Layout, Segment, Words
from sealora.protocol.keystream import Keystream, derive_key
from sealora.protocol.thresholds import floor, smallest_n_min, threshold

RANGE = 8.0
"""Largest magnitude of a value: the default of Flower's workflow."""


@dataclass(frozen=True)
class Case:
    """A cohort. Above 200 sites `colluders` and `n_min` decide how many neighbours each site has."""

    sites: int
    weights: int
    colluders: int
    n_min: int
    name: str = ""

    @property
    def degree(self) -> int:
        """k of the graph that the halves will use."""
        shared = threshold(self.sites, self.colluders)
        return graph.shape(
            self.sites, self.colluders, shared, floor(self.sites, self.colluders, self.n_min)
        ).degree


def third(sites: int, weights: int) -> Case:
    """A third colludes, and no more sites are asked for than that needs."""
    return Case(sites, weights, sites // 3, smallest_n_min(sites // 3), str(sites))


def tenth(sites: int, weights: int) -> Case:
    """A tenth colludes and at most a tenth drops out: of 1000 sites each has 48 neighbours."""
    return Case(sites, weights, sites // 10, sites - sites // 10, str(sites))


def few_asked_for(sites: int, weights: int) -> Case:
    """The same colluders, but nearly half may drop out, for which the graph needs many more neighbours."""
    return Case(sites, weights, sites // 10, smallest_n_min(sites // 10), f"{sites}_least_n_min")


@dataclass(frozen=True)
class Sizes:
    """The workload. `memory` is a pair of sites and weights."""

    dimensions: tuple[int, ...]
    pairs: int
    attempts: tuple[Case, ...]
    flower_weights: int
    flower_pairs: int
    memory: tuple[int, int]


FULL = Sizes(
    dimensions=(10**6, 10**7),
    pairs=3,
    attempts=(third(10, 10**6), third(100, 10**6), tenth(1000, 10**6), few_asked_for(1000, 10**6)),
    flower_weights=10**6,
    flower_pairs=7,
    memory=(100, 10**7),
)
QUICK = Sizes(
    dimensions=(10**6,),
    pairs=1,
    attempts=(third(10, 10**6), third(100, 10**5), tenth(300, 10**5)),
    flower_weights=10**5,
    flower_pairs=1,
    memory=(10, 15 * 10**6),
)


def layout_of(weights: int, sites: int, bits: int = 16) -> Layout:
    return Layout((Segment("update", weights, RANGE),), sites, bits)


def random_words(count: int, name: str) -> Words:
    return Keystream(derive_key("benchmark", name)).words32(2 * count).view("<u8").astype(np.uint64)

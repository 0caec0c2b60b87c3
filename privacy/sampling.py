"""Poisson sampling of units: each takes part by a coin of its own, which nobody else sees.

Amplification by sampling is accounted for exactly this (Abadi et al. 2016; shuffled batches are
something else, arXiv 2403.17673), so the coins come from a key of the operating system's, never a seed.
"""

import os
import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sealora.protocol.keystream import Keystream


def poisson_sample(count: int, rate: float) -> NDArray[np.int64]:
    """The units drawn out of range(count), each with probability `rate`, ascending; perhaps none.

    The probability is exact to 2^-64, rounded down.
    """
    if rate >= 1:
        return np.arange(count, dtype=np.int64)
    # A fresh key each time: no state that a forked process could share.
    coins = Keystream(os.urandom(32)).words32(2 * count).view("<u8")
    return np.flatnonzero(coins < np.uint64(int(rate * 2.0**64))).astype(np.int64)


def choose(records: Sequence[int], most: int) -> list[int]:
    """At most that many of a unit's records, each as likely; 0 takes all. As secret as the coins."""
    if not 0 < most < len(records):
        return list(records)
    return secrets.SystemRandom().sample(records, most)

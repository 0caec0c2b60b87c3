"""Poisson sampling: a coin for each unit. The keys of the coins are fixed here: nothing is left to luck."""

import hashlib
import os
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sealora.privacy.sampling import poisson_sample

DRAWS = 4000
UNITS = 50


@pytest.fixture
def fixed_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = (hashlib.sha256(b"sampling %d" % number).digest() for number in count())
    monkeypatch.setattr(os, "urandom", lambda size: next(keys)[:size])


def drawn(rate: float, units: int = UNITS) -> np.ndarray:
    """Which units took part, bool of shape (draws, units)."""
    found = np.zeros((DRAWS, units), dtype=bool)
    for draw in range(DRAWS):
        found[draw, poisson_sample(units, rate)] = True
    return found


@pytest.mark.usefixtures("fixed_keys")
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_the_size_of_a_sample_is_binomial(rate: float) -> None:
    """Not fixed, as a shuffled batch's would be: amplification is accounted for coins, not for batches."""
    sizes = drawn(rate).sum(axis=1)
    low, high = stats.binom.ppf([0.01, 0.99], UNITS, rate).astype(int)
    inner = np.arange(low, high)
    counts = [(sizes < low).sum(), *[(sizes == size).sum() for size in inner], (sizes >= high).sum()]
    chances = [stats.binom.cdf(low - 1, UNITS, rate), *stats.binom.pmf(inner, UNITS, rate)]
    chances.append(1 - sum(chances))
    kept = np.array(chances) * DRAWS > 5
    expected = np.array(chances)[kept] * DRAWS
    found = np.array(counts)[kept]
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.usefixtures("fixed_keys")
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_every_unit_is_as_likely_and_independent_of_the_others_and_of_the_last_draw(rate: float) -> None:
    found = drawn(rate)
    statistic = (np.square(found.sum(axis=0) - DRAWS * rate) / (DRAWS * rate * (1 - rate))).sum()
    assert stats.chi2.sf(statistic, UNITS) > 1e-3
    for one, other in (
        (found[:, 0], found[:, 1]),
        (found[:, 7], found[:, 40]),
        (found[1:, 3], found[:-1, 3]),
    ):
        table = np.histogram2d(one, other, bins=2)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-3


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 500), st.floats(0, 1), st.binary(min_size=32, max_size=32))
def test_a_sample_is_the_units_whose_coins_fell(units: int, rate: float, key: bytes) -> None:
    """Adding a unit at the end changes nothing for the others: each has a coin of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", lambda size: key)
        sample = poisson_sample(units, rate).tolist()
        more = poisson_sample(units + 1, rate).tolist()
    assert sample == sorted(set(sample))
    assert set(sample) <= set(range(units))
    assert [unit for unit in more if unit < units] == sample


def test_two_draws_differ() -> None:
    assert poisson_sample(200, 0.5).tolist() != poisson_sample(200, 0.5).tolist()

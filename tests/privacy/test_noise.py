import copy
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sealora.privacy.noise import BLOCK, GaussianNoise

COUNT = 400_000


def seeded(seed: int = 7) -> GaussianNoise:
    return GaussianNoise.insecure_reproducible(seed)


def test_draws_have_the_moments_of_a_standard_normal() -> None:
    draws = seeded().float64(COUNT)
    # The bounds are five standard errors of each moment.
    assert abs(draws.mean()) < 5 / COUNT**0.5
    assert abs(draws.var() - 1) < 5 * (2 / COUNT) ** 0.5
    assert abs((draws**3).mean()) < 5 * (15 / COUNT) ** 0.5
    assert abs((draws**4).mean() - 3) < 5 * (96 / COUNT) ** 0.5


def test_draws_have_the_distribution_of_a_standard_normal() -> None:
    draws = np.sort(seeded(8).float64(COUNT))
    # Φ at the quantiles of a normal; Kolmogorov's distance at level 1e-6 is 2.7/√n.
    for x, below in [
        (-3.0, 0.0013499),
        (-1.96, 0.0249979),
        (-1, 0.1586553),
        (0, 0.5),
        (0.5, 0.6914625),
        (2, 0.9772499),
    ]:
        assert abs(np.searchsorted(draws, x) / COUNT - below) < 2.7 / COUNT**0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("deviation", [1.0, 0.03, 40.0])
def test_kolmogorov_smirnov(seed: int, deviation: float) -> None:
    """Seeds are fixed, so the level is that of an unlucky seed: it never changes."""
    draws = seeded(seed).float64(COUNT // 4, deviation)
    assert stats.kstest(draws, "norm", args=(0, deviation)).pvalue > 1e-3
    assert stats.kstest(draws, "norm", args=(0, 1.05 * deviation)).pvalue < 1e-3, "the test can fail"


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_chi_square_over_bins_of_equal_chance(seed: int) -> None:
    edges = stats.norm.ppf(np.linspace(0, 1, 201))
    counts, _ = np.histogram(seeded(seed).float64(COUNT), edges)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.chisquare(np.histogram(seeded(seed).float64(COUNT) + 0.02, edges)[0]).pvalue < 1e-3


def test_chi_square_of_neighbouring_pairs() -> None:
    """Independence: the quartiles of one draw say nothing about those of the next."""
    draws = seeded(10).float64(COUNT)
    quartile = np.digitize(draws, stats.norm.ppf([0.25, 0.5, 0.75]))
    for lag in (1, 2, BLOCK):
        table = np.zeros((4, 4))
        np.add.at(table, (quartile[:-lag], quartile[lag:]), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-3


def test_the_tails_are_those_of_a_normal() -> None:
    draws = np.abs(seeded(12).float64(10 * COUNT))
    for x in (3.0, 4.0, 4.5):
        beyond, expected = int((draws > x).sum()), 2 * stats.norm.sf(x) * draws.size
        assert abs(beyond - expected) < 5 * expected**0.5 + 1


def test_neighbouring_draws_and_the_two_halves_of_a_pair_are_uncorrelated() -> None:
    draws = seeded(9).float64(2 * BLOCK)
    for first, second in [(draws[:-1], draws[1:]), (draws[:BLOCK], draws[BLOCK:])]:
        assert abs(np.corrcoef(first, second)[0, 1]) < 5 / BLOCK**0.5
        assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 5 / BLOCK**0.5


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([0, 1, 2, 3, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 4 * BLOCK + 3]),
    st.floats(0.001, 1000),
)
def test_any_length_and_deviation(count: int, deviation: float) -> None:
    draws = seeded().float64(count, deviation)
    assert draws.shape == (count,)
    assert draws.dtype == np.float64
    assert np.all(np.abs(draws) <= 8.6 * deviation)
    np.testing.assert_array_equal(draws, seeded().float64(count) * deviation)


def test_float32_is_the_rounded_float64() -> None:
    single = seeded().float32(1001, 0.5)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, seeded().float64(1001, 0.5).astype(np.float32))


def test_a_stream_does_not_repeat_itself() -> None:
    noise = seeded()
    assert not np.any(noise.float64(1000) == noise.float64(1000))


def test_fresh_streams_differ_and_are_private() -> None:
    first, second = GaussianNoise(), GaussianNoise()
    assert first.private
    assert second.private
    assert not np.any(first.float64(1000) == second.float64(1000))


def test_a_seeded_stream_marks_itself() -> None:
    assert not seeded().private
    assert repr(seeded()) == "GaussianNoise(private=False)"
    np.testing.assert_array_equal(seeded(1).float64(10), seeded(1).float64(10))
    assert not np.any(seeded(1).float64(10) == seeded(2).float64(10))


def test_seeded_draws_are_a_promise() -> None:
    expected = [-0.4070376699134294, -0.6099293180413718, -0.5924963085765017, -0.728846526472352]
    np.testing.assert_allclose(seeded(0).float64(4), expected, rtol=1e-9)


def test_a_stream_is_never_copied() -> None:
    with pytest.raises(TypeError, match="never copied"):
        copy.deepcopy(GaussianNoise())
    with pytest.raises(TypeError, match="never copied"):
        copy.copy(GaussianNoise())


def test_a_forked_process_draws_its_own_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter([bytes(32), bytes(32), bytes(31) + b"\1"])
    monkeypatch.setattr(os, "urandom", lambda count: next(keys))
    parent, child = GaussianNoise(), GaussianNoise()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    child_draws = child.float64(10)
    monkeypatch.undo()
    assert not np.any(parent.float64(10) == child_draws)

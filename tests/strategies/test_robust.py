"""Rules that compare: what they make of updates of which some are anything."""

import numpy as np
import pytest

from sealora.strategies.krum import scores
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings

RULES = ["median", "trimmed_mean", "krum", "multi_krum", "geometric_median", "norm_bound"]


def rule(name, attackers=2, **options):
    return load_strategy(StrategySettings(name=name, options={"attackers": attackers, **options}))


def honest(count=5, values=40, spread=0.1):
    return 1 + spread * np.random.default_rng(0).normal(size=(count, values))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [-1e9, 1e9, 1e-300])
def test_two_of_seven_do_not_decide(name, size):
    updates = np.concatenate([honest(), np.full((2, 40), size)])
    found = rule(name).combine(updates, 2)
    # Norm bounding lets an attacker count like anybody else.
    assert np.abs(found - 1).max() < (0.7 if name == "norm_bound" else 0.35)


@pytest.mark.parametrize("name", RULES)
def test_updates_that_agree_are_the_answer(name):
    one = honest(1)[0]
    np.testing.assert_allclose(rule(name).combine(np.stack([one] * 7), 2), one, atol=1e-12)
    np.testing.assert_allclose(rule(name).combine(one[None], 0), one, atol=1e-12)
    assert not rule(name).combine(np.zeros((7, 3)), 2).any()


def test_multi_krum_averages_the_best_and_shares_the_border():
    """Of seven with two attackers the best three; of equal scores each counts in part."""
    updates = np.array([[0.0], [0.1], [0.2], [0.35], [5.0], [9.0], [20.0]])
    best = np.argsort(scores(updates, 2))[:3]
    assert rule("multi_krum").combine(updates, 2) == pytest.approx(updates[best].mean())
    square = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    np.testing.assert_allclose(rule("multi_krum").combine(square, 1), [0.0, 0.0], atol=1e-12)


def test_the_geometric_median_of_a_majority_is_where_it_stands():
    updates = np.concatenate([np.zeros((4, 3)), np.full((3, 3), 7.0)])
    np.testing.assert_allclose(rule("geometric_median").combine(updates, 2), 0.0, atol=1e-12)


def test_a_written_norm_bounds_each_update():
    updates = np.array([[3.0, 4.0], [0.3, 0.4]])
    np.testing.assert_allclose(rule("norm_bound", norm=1.0).combine(updates, 0), [0.45, 0.6])


def test_what_a_rule_needs():
    assert [rule(name).least for name in RULES] == [5, 5, 7, 7, 5, 5]
    assert (rule("median").sees, rule("median").groups) == ("each", 0)
    assert (rule("median", groups=5).sees, rule("median", groups=5).groups) == ("groups", 5)

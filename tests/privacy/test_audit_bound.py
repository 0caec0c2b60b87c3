"""What attacks prove: bounds against other computations, and against mechanisms whose ε is known."""

import math

import numpy as np
import pytest
from closed_forms import gdp_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sealora.privacy.audit_bound import (
    Rule,
    best_rule,
    guessing_bound,
    guessing_chance,
    largest_deviation,
    least_mean,
    rates_bound,
)

# --- guesses ---


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_chance_is_that_of_the_theorem(data):
    """Summed up term by term, as the theorem states it."""
    canaries = data.draw(st.integers(1, 60))
    guesses = data.draw(st.integers(1, canaries))
    correct = data.draw(st.integers(0, guesses))
    epsilon, delta = data.draw(st.floats(0, 8)), data.draw(st.floats(0, 0.01))
    right = stats.binom(guesses, math.exp(epsilon) / (1 + math.exp(epsilon)))
    lifts = [sum(right.pmf(correct - j) for j in range(1, i + 1)) / i for i in range(1, correct + 1)]
    expected = right.sf(correct - 1) + 2 * canaries * delta * max(lifts, default=0)
    assert guessing_chance(canaries, guesses, correct, epsilon, delta) == pytest.approx(
        min(1, expected), rel=1e-9, abs=1e-15
    )


@pytest.mark.parametrize("guesses", [10, 100, 1000])
def test_all_right_and_no_delta(guesses):
    """Then (1 + e^−ε)^−k = 5 %, which can be solved for ε."""
    chance = 0.05 ** (1 / guesses)
    assert guessing_bound(guesses, guesses, guesses, 0.0) == pytest.approx(
        math.log(chance / (1 - chance)), abs=2e-4
    )


@pytest.mark.parametrize(("guesses", "correct"), [(100, 50), (100, 0), (1, 1), (4, 4)])
def test_what_chance_can_do_proves_nothing(guesses, correct):
    assert guessing_bound(1000, guesses, correct, 0.0) == 0


def test_a_large_delta_lets_little_be_proved():
    bounds = [guessing_bound(4096, 4096, 4096, delta) for delta in (0, 1e-6, 1e-5, 1e-4)]
    assert bounds == sorted(bounds, reverse=True)
    assert 5 < bounds[-1] < bounds[0] - 1


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
def test_randomised_response_is_bounded_below_its_epsilon_and_near(epsilon):
    """Each bit is told truly with the chance e^ε / (1 + e^ε): the mechanism that the theorem is tight for."""
    draw = np.random.default_rng(0)
    chance = math.exp(epsilon) / (1 + math.exp(epsilon))
    bounds = np.array([guessing_bound(4000, 4000, draw.binomial(4000, chance), 0.0) for _ in range(100)])
    assert (bounds > epsilon).mean() <= 0.1, "5 % are allowed, and 100 draws"
    assert bounds.mean() > 0.9 * epsilon - 0.05


def canaries(mu, count, draw):
    included = draw.random(count) < 0.5
    return draw.normal(size=count) + mu * included, included


@pytest.mark.parametrize("mu", [0.5, 1.5])
def test_a_gaussian_mechanism_is_bounded_below_its_epsilon(mu):
    """Scores N(0, 1) and N(μ, 1) are what a μ-GDP mechanism shows at most."""
    draw, delta = np.random.default_rng(1), 1e-5
    bounds = []
    for _ in range(20):
        rule = best_rule(*canaries(mu, 500, draw), [mu / 2], delta)
        bounds.append(rule.guess(*canaries(mu, 2000, draw), delta)[2])
    assert max(bounds) < gdp_epsilon(mu, delta)
    assert np.median(bounds) > 0.15 * gdp_epsilon(mu, delta)


def test_a_rule_guesses_at_the_extremes_first():
    scores = np.array([0.0, 10.0, 4.0, 6.0])
    included = np.array([False, True, True, True])
    assert Rule(1.0, 5.0).guess(scores, included, 0.0)[:2] == (4, 3)
    assert Rule(0.5, 5.0).guess(scores, included, 0.0)[:2] == (2, 2)


def test_the_best_rule_ventures_all_guesses_only_where_all_are_right():
    draw = np.random.default_rng(2)
    assert best_rule(*canaries(100.0, 1000, draw), [50.0], 1e-5).share == 1
    assert best_rule(*canaries(1.0, 1000, draw), [0.5], 1e-5).share < 1


def test_the_best_rule_finds_the_middle():
    draw = np.random.default_rng(3)
    scores, included = canaries(1000.0, 1000, draw)
    assert best_rule(scores - 490, included, [-600.0, 10.0], 1e-5).middle == 10


# --- scores ---


@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_the_deviation_and_the_mean_are_on_the_safe_side_as_often_as_they_say(confidence):
    draw = np.random.default_rng(4)
    values = draw.normal(3.0, 2.0, (1000, 200))
    deviations = np.array([largest_deviation(row - 3.0, confidence) for row in values])
    means = np.array([least_mean(row, confidence) for row in values])
    for safe in ((deviations >= 2.0).mean(), (means <= 3.0).mean()):
        assert abs(safe - confidence) < 4 * math.sqrt(confidence * (1 - confidence) / 1000) + 0.002
    assert deviations.mean() < 2.4
    assert means.mean() > 2.6


# --- rates ---


def test_rates_of_nobody_and_of_everybody():
    assert rates_bound(0, 1000, 10, 1000, 1e-5) == 0
    assert rates_bound(1000, 1000, 1000, 1000, 1e-5) == 0
    # Clopper–Pearson of all, and of none, of n: 0.025^(1/n) and 1 − 0.025^(1/n).
    edge = 0.025 ** (1 / 1000)
    assert rates_bound(1000, 1000, 0, 1000, 0.0) == pytest.approx(math.log(edge / (1 - edge)))


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_rates_of_randomised_response_are_bounded_below_its_epsilon_and_near(epsilon):
    draw = np.random.default_rng(5)
    chance = math.exp(epsilon) / (1 + math.exp(epsilon))
    bounds = np.array(
        [
            rates_bound(draw.binomial(5000, chance), 5000, draw.binomial(5000, 1 - chance), 5000, 0.0)
            for _ in range(300)
        ]
    )
    assert (bounds > epsilon).mean() <= 0.08
    assert bounds.mean() > 0.8 * epsilon

"""A run's schedule: steps from public constants, noise from the budget, ε from the releases."""

import pytest

from sealora.privacy.events import Composition, GaussianRelease
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings

PROMISE = {"guarantee": "record", "epsilon": 8.0, "delta": 1e-5, "sampling_rate": 0.1, "expected_batch": 32.0}


def settings(**changes):
    return PrivacySettings(**{**PROMISE, **changes})


@pytest.mark.parametrize(
    ("rate", "epochs", "steps"), [(0.1, 1, 10), (0.1, 3, 30), (0.3, 1, 4), (1.0, 2, 2), (0.07, 1, 15)]
)
def test_steps_follow_from_the_sampling_rate(rate, epochs, steps):
    assert settings(sampling_rate=rate).steps_of(epochs) == steps
    assert settings(sampling_rate=rate, steps_per_round=7).steps_of(epochs) == 7


def test_stated_noise_is_taken_as_it_is():
    found = schedule(settings(noise_multiplier=1.0, steps_per_round=10, delta=1e-6), 1, 10)
    assert found.noise_multiplier == 1.0
    assert found.training.steps == 10
    # Reference of an independent accountant: σ = 1, q = 0.1, T = 100, δ = 1e-6.
    assert found.epsilon(10) == pytest.approx(8.0586, abs=2e-3)
    assert found.epsilon(0) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_calibrated_noise_meets_the_budget_and_no_more(accountant):
    found = schedule(settings(accountant=accountant, steps_per_round=2), 1, 4)
    assert 0.97 * 8 < found.epsilon(4) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("accountant", ["pld", "rdp"])
def test_calibration_pays_for_noised_metrics_too(accountant):
    """Alone they cost a quarter of ε at most; with the training, all of it and no more."""
    found = schedule(settings(accountant=accountant, steps_per_round=2, metrics="noised"), 1, 4)
    assert 0.97 * 2 < found.accountant.epsilon([found.metrics] * 5, 1e-5) <= 2
    assert 0.97 * 8 < found.epsilon_total <= 8
    assert found.epsilon(4) < found.epsilon(4, 1) == found.epsilon_total
    plain = schedule(settings(accountant=accountant, steps_per_round=2), 1, 4)
    assert 1 < found.noise_multiplier / plain.noise_multiplier < 1.1


def test_stated_noise_of_metrics_is_taken_as_it_is():
    found = schedule(settings(noise_multiplier=1.0, metrics="noised", metrics_noise=7.0), 1, 2)
    assert found.metrics == GaussianRelease(7.0)
    assert found.round_event == Composition((found.training, found.metrics))
    assert schedule(settings(noise_multiplier=1.0), 1, 2).round_event == found.training
    assert found.epsilon(0) == 0.0

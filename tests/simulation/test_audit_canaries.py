"""Canaries: DP-SGD as it is passes, and every way of spoiling it that the canaries can feel is noticed."""

import math

import numpy as np
import pytest

from sealora.client import private_trainer
from sealora.privacy.noise import GaussianNoise
from sealora.privacy.sampling import poisson_sample
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings
from sealora.simulation import audit_canaries
from sealora.simulation.audit_canaries import Canaries, measure, train_canaries

PROMISE = PrivacySettings(
    guarantee="record",
    epsilon=8.0,
    delta=1e-5,
    clipping_norm=0.3,
    sampling_rate=0.5,
    expected_batch=20.0,
    steps_per_round=20,
)
ROUNDS = 2
PLANNED = schedule(PROMISE, 1, ROUNDS)
STEPS = 40


def silent(_):
    pass


def audited(**options):
    return audit_canaries.audit_canaries(
        PROMISE, PLANNED, ROUNDS, PLANNED.epsilon(ROUNDS), 0, silent, **options
    )


@pytest.mark.slow
def test_the_product_passes_and_is_measured_as_it_was_planned():
    finding = audited()
    figures = finding.figures
    assert finding.verdict == "holds"
    assert figures["epsilon_claimed"] == pytest.approx(8, rel=0.01)
    assert 1 < figures["epsilon_shown"] < figures["epsilon_measured"] < 8
    assert figures["epsilon_measured"] > 6
    assert figures["noise_measured"] == pytest.approx(PLANNED.noise_multiplier, rel=0.04)
    assert figures["rate_measured"] == pytest.approx(0.5, rel=0.04)
    assert figures["steps"] == STEPS
    assert f"{figures['correct']} of {figures['guesses']} guesses" in finding.found


@pytest.mark.slow
def test_without_noise_the_claim_is_broken_by_guesses_alone():
    finding = audited(noise=False)
    figures = finding.figures
    assert finding.verdict == "broken"
    assert figures["guesses"] == figures["correct"] == figures["canaries"]
    assert figures["epsilon_shown"] == figures["epsilon_could_show"] > 8
    assert figures["noise_measured"] < 0.01


def no_noise(patch):
    patch.setattr(GaussianNoise, "float64", lambda self, count, deviation=1.0: np.zeros(count))


def less_noise(patch):
    honest = GaussianNoise.float64
    patch.setattr(
        GaussianNoise, "float64", lambda self, count, deviation=1.0: honest(self, count, 0.7 * deviation)
    )


def the_same_noise_at_every_step(patch):
    noise: dict[int, np.ndarray] = {}
    honest = GaussianNoise.float64
    patch.setattr(
        GaussianNoise,
        "float64",
        lambda self, count, deviation=1.0: noise.setdefault(count, honest(self, count, deviation)) * 0.1,
    )


def longer_gradients(patch):
    honest = private_trainer.clipped_sum
    patch.setattr(
        private_trainer, "clipped_sum", lambda found, parameters, norm: honest(found, parameters, 1.5 * norm)
    )


def more_rows(patch):
    patch.setattr(private_trainer, "poisson_sample", lambda count, rate: poisson_sample(count, 1.5 * rate))


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil", [no_noise, less_noise, the_same_noise_at_every_step, longer_gradients, more_rows]
)
def test_a_spoilt_product_is_found_out(spoil, monkeypatch):
    spoil(monkeypatch)
    assert audited().verdict == "broken"


@pytest.mark.slow
def test_scores_are_clipped_gradients_added_up(monkeypatch):
    """At rate 1 and hardly any noise, every canary that was there scores one for each step."""
    monkeypatch.setattr(audit_canaries, "CANARIES", 16)
    settings = PROMISE.model_copy(update={"sampling_rate": 1.0, "noise_multiplier": 1e-3})
    found = train_canaries(settings, schedule(settings, 1, ROUNDS), ROUNDS, 3, 7, silent)
    assert found.scores.shape == found.included.shape == (3, 16)
    assert 0 < found.included.sum() < 48
    np.testing.assert_allclose(found.scores, found.included * STEPS, atol=0.05)


def drawn(noise, rate, draw, sites=3, canaries=256):
    """Scores as DP-SGD of this noise and rate makes them."""
    included = draw.random((sites, canaries)) < 0.5
    times = draw.binomial(STEPS, rate, included.shape) * included
    return Canaries(times + draw.normal(0, noise * math.sqrt(STEPS), included.shape), included)


@pytest.mark.slow
def test_what_is_as_planned_is_hardly_ever_called_broken():
    draw = np.random.default_rng(0)
    planned = schedule(PROMISE.model_copy(update={"accountant": "rdp"}), 1, ROUNDS)
    claimed = planned.epsilon(ROUNDS)
    figures = [measure(drawn(planned.noise_multiplier, 0.5, draw), planned, STEPS) for _ in range(8)]
    assert all(max(f["epsilon_shown"], f["epsilon_measured"]) <= claimed for f in figures)
    assert all(f["epsilon_shown"] > 0.3 for f in figures)

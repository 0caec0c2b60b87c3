"""The step size over a run."""

import math

import pytest

from sealora.client.schedule import learning_rate
from sealora.models.settings import TrainingSettings


@pytest.mark.parametrize(
    ("schedule", "warmup", "progress", "factor"),
    [
        ("constant", 0.0, 0.0, 1.0),
        ("constant", 0.0, 0.99, 1.0),
        ("linear", 0.0, 0.0, 1.0),
        ("linear", 0.0, 0.25, 0.75),
        ("cosine", 0.0, 0.0, 1.0),
        ("cosine", 0.0, 0.5, 0.5),
        ("cosine", 0.0, 0.25, (1 + math.sqrt(0.5)) / 2),
        ("constant", 0.2, 0.0, 0.0),
        ("constant", 0.2, 0.1, 0.5),
        ("linear", 0.2, 0.1, 0.5),
        ("linear", 0.2, 0.2, 1.0),
        ("linear", 0.2, 0.6, 0.5),
        ("cosine", 0.2, 0.2, 1.0),
        ("cosine", 0.2, 0.6, 0.5),
    ],
)
def test_curves(schedule, warmup, progress, factor):
    settings = TrainingSettings(learning_rate=0.01, schedule=schedule, warmup_fraction=warmup)
    assert learning_rate(settings, progress) == pytest.approx(0.01 * factor)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_it_falls_towards_zero_and_stays_positive(schedule):
    settings = TrainingSettings(learning_rate=0.01, schedule=schedule, warmup_fraction=0.1)
    rates = [learning_rate(settings, step / 1000) for step in range(100, 1000)]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-4

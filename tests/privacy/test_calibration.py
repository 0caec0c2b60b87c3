import pytest
from closed_forms import gdp_epsilon

from sealora.privacy.accountants import PldAccountant, RdpAccountant
from sealora.privacy.calibration import SMALLEST_NOISE, TOLERANCE, affordable_rounds, calibrate_noise
from sealora.privacy.events import (
    Accountant,
    Budget,
    Composition,
    Event,
    GaussianRelease,
    PoissonSampledGaussian,
)
from sealora.protocol.errors import RefusedError

COARSE = PldAccountant(interval=1e-3)
DELTA = 1e-5


def sampled(noise: float) -> Event:
    return PoissonSampledGaussian(noise, 0.02, 500)


def full(noise: float) -> Event:
    return Composition((GaussianRelease(noise),), 20)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 50.0])
@pytest.mark.parametrize("schedule", [sampled, full])
def test_calibrated_noise_meets_the_budget_and_hardly_more(schedule: type[Event], epsilon: float) -> None:
    accountant = RdpAccountant(orders=(*map(float, range(2, 64)), 128.0, 256.0))
    noise = calibrate_noise(schedule, Budget(epsilon, DELTA), accountant)
    assert accountant.epsilon([schedule(noise)], DELTA) <= epsilon
    assert accountant.epsilon([schedule(noise * (1 - 2 * TOLERANCE))], DELTA) > epsilon


def test_calibration_inverts_the_exact_gaussian() -> None:
    noise = calibrate_noise(full, Budget(gdp_epsilon(0.5, DELTA), DELTA), COARSE)
    assert noise == pytest.approx(20**0.5 / 0.5, rel=2 * TOLERANCE)
    assert gdp_epsilon(20**0.5 / noise, DELTA) <= gdp_epsilon(0.5, DELTA)


@pytest.mark.slow
def test_calibration_with_the_tight_accountant() -> None:
    noise = calibrate_noise(sampled, Budget(4.668, DELTA), PldAccountant())
    assert noise == pytest.approx(0.8, rel=2 * TOLERANCE)
    assert PldAccountant().epsilon([sampled(noise)], DELTA) <= 4.668


class Counting:
    """An accountant that counts its questions."""

    name = "counting"
    relation = "add-remove"

    def __init__(self) -> None:
        self.questions = 0

    def epsilon(self, events: list[Event], delta: float) -> float:
        self.questions += 1
        return RdpAccountant().epsilon(events, delta)


def test_calibration_asks_few_questions() -> None:
    accountant = Counting()
    calibrate_noise(full, Budget(2.0, DELTA), accountant)  # type: ignore[arg-type]
    assert accountant.questions <= 14


def test_noise_makes_room_for_what_was_spent() -> None:
    budget = Budget(4.0, DELTA)
    spent = [GaussianRelease(2)]
    fresh = calibrate_noise(full, budget, RdpAccountant())
    noise = calibrate_noise(full, budget, RdpAccountant(), spent)
    assert noise > fresh
    assert RdpAccountant().epsilon([*spent, full(noise)], DELTA) <= 4.0


def test_a_spent_budget_cannot_be_met() -> None:
    with pytest.raises(RefusedError, match="no noise multiplier"):
        calibrate_noise(full, Budget(1.0, DELTA), RdpAccountant(), [GaussianRelease(0.5)])


def test_a_budget_without_effect_gets_the_least_noise() -> None:
    assert calibrate_noise(GaussianRelease, Budget(1e5, DELTA), RdpAccountant()) == SMALLEST_NOISE


@pytest.mark.parametrize(
    ("accountant", "event", "epsilon"),
    [
        (COARSE, GaussianRelease(8), 3.7966),
        (RdpAccountant(), PoissonSampledGaussian(4, 0.01, 100), 1.0356),
        (RdpAccountant(), GaussianRelease(30), 1.0),
    ],
)
def test_affordable_rounds_fit_and_one_more_does_not(
    accountant: Accountant, event: Event, epsilon: float
) -> None:
    rounds = affordable_rounds(event, Budget(epsilon, DELTA), accountant)
    assert rounds >= 1
    assert accountant.epsilon([event] * rounds, DELTA) <= epsilon
    assert accountant.epsilon([event] * (rounds + 1), DELTA) > epsilon


def test_reference_rounds() -> None:
    assert affordable_rounds(GaussianRelease(8), Budget(3.7966, DELTA), COARSE) == 50


def test_affordable_rounds_at_their_ends() -> None:
    budget, accountant = Budget(1.0, DELTA), RdpAccountant()
    assert affordable_rounds(GaussianRelease(1), budget, accountant) == 0
    assert affordable_rounds(GaussianRelease(30), budget, accountant, [GaussianRelease(4)]) == 0
    for most in (1, 2, 3, 7, 8, 9):
        assert affordable_rounds(GaussianRelease(1e4), budget, accountant, most=most) == most

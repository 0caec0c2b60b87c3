"""What every accountant promises, checked by one suite, and what each adds."""

import itertools
import math
from collections.abc import Sequence

import pytest
from closed_forms import gdp_delta, gdp_epsilon, gdp_mu

from sealora.privacy.accountants import ACCOUNTANTS, PldAccountant, RdpAccountant
from sealora.privacy.events import (
    Accountant,
    Composition,
    DistributedDiscreteGaussian,
    Event,
    GaussianRelease,
    PoissonSampledGaussian,
)
from sealora.protocol.errors import RefusedError

REFERENCES = [
    # σ, q, T, δ, PLD, RDP: computed with independent accountants; q = 1 also analytically.
    (1.0, 1.0, 1, 1e-5, 4.3772, 4.7284),
    (4.0, 1.0, 1, 1e-5, 0.9263, 1.0126),
    (2.0, 1.0, 10, 1e-6, 8.3062, 8.8459),
    (8.0, 1.0, 50, 1e-5, 3.7965, 4.1057),
    (5.0, 1.0, 20, 1e-6, 4.3058, 4.6044),
    (4.0, 0.01, 10_000, 1e-5, 0.9470, 1.0355),
    (1.0, 0.01, 1000, 1e-5, 1.8282, 2.1013),
    (0.8, 0.02, 500, 1e-5, 4.6680, 5.3698),
    (1.0, 0.1, 100, 1e-6, 8.0586, 8.9197),
]
NOISE, RATE, STEPS, DELTA = 4.0, 0.05, 200, 1e-5
SAMPLED = PoissonSampledGaussian(NOISE, RATE, STEPS)


class AccountantConformance:
    """Inherited by the tests of every accountant."""

    accountant: Accountant
    column: int

    @pytest.mark.parametrize("row", REFERENCES, ids=str)
    def test_reference_table(self, row: tuple[float, float, int, float, float, float]) -> None:
        noise, rate, steps, delta, *expected = row
        found = self.accountant.epsilon([PoissonSampledGaussian(noise, rate, steps)], delta)
        assert found == pytest.approx(expected[self.column], abs=3e-4)

    @pytest.mark.parametrize("mu", [0.25, 1.0, 2.0])
    def test_never_below_the_exact_gaussian(self, mu: float) -> None:
        event = GaussianRelease(1 / mu)
        exact = gdp_epsilon(mu, DELTA)
        assert exact - 1e-6 <= self.accountant.epsilon([event], DELTA) <= 1.15 * exact
        for epsilon in (0.5, 2.0):
            assert self.accountant.delta([event], epsilon) >= gdp_delta(mu, epsilon) * (1 - 1e-6)

    def test_nothing_costs_nothing(self) -> None:
        assert self.accountant.epsilon([], DELTA) == 0
        assert self.accountant.delta([], 1.0) == 0

    def test_more_steps_cost_more(self) -> None:
        spent = [self._sampled(steps=steps) for steps in (1, 10, 100, 200, 1000)]
        assert all(a < b for a, b in itertools.pairwise(spent))

    def test_more_noise_costs_less(self) -> None:
        spent = [self._sampled(noise=noise) for noise in (2.0, 3.0, 4.0, 8.0)]
        assert all(a > b for a, b in itertools.pairwise(spent))

    def test_a_higher_rate_costs_more(self) -> None:
        spent = [self._sampled(rate=rate) for rate in (0.01, 0.05, 0.1, 1.0)]
        assert all(a < b for a, b in itertools.pairwise(spent))

    def test_a_larger_delta_costs_less(self) -> None:
        spent = [self.accountant.epsilon([SAMPLED], delta) for delta in (1e-9, 1e-6, 1e-5, 1e-3)]
        assert all(a > b for a, b in itertools.pairwise(spent))

    def test_the_order_of_events_does_not_matter(self) -> None:
        events: Sequence[Event] = [SAMPLED, GaussianRelease(9), PoissonSampledGaussian(5, 0.1, 7)]
        found = {self.accountant.epsilon(order, DELTA) for order in itertools.permutations(events)}
        assert len(found) == 1

    def test_steps_add_up(self) -> None:
        whole = self.accountant.epsilon([SAMPLED], DELTA)
        assert self.accountant.epsilon([PoissonSampledGaussian(NOISE, RATE, STEPS // 4)] * 4, DELTA) == whole
        once = PoissonSampledGaussian(NOISE, RATE)
        assert self.accountant.epsilon([Composition((Composition((once,), 50),), 4)], DELTA) == whole

    def test_gaussian_releases_add_up_in_inverse_squares(self) -> None:
        one = self.accountant.epsilon([GaussianRelease(2)], DELTA)
        four = self.accountant.epsilon([Composition((GaussianRelease(4),), 4)], DELTA)
        assert four == pytest.approx(one, rel=1e-9)

    def test_every_further_event_costs(self) -> None:
        one = self.accountant.epsilon([SAMPLED], DELTA)
        two = self.accountant.epsilon([SAMPLED, GaussianRelease(50)], DELTA)
        assert two > one

    def test_a_part_of_a_composition_costs_no_more_than_the_sum(self) -> None:
        other = GaussianRelease(5)
        together = self.accountant.epsilon([SAMPLED, other], 2 * DELTA)
        apart = self.accountant.epsilon([SAMPLED], DELTA) + self.accountant.epsilon([other], DELTA)
        assert together <= apart

    def test_epsilon_and_delta_are_one_curve(self) -> None:
        epsilon = self.accountant.epsilon([SAMPLED], DELTA)
        assert self.accountant.delta([SAMPLED], epsilon) <= DELTA * 1.001
        assert self.accountant.delta([SAMPLED], epsilon * 0.9) > DELTA

    def test_full_sampling_is_no_sampling(self) -> None:
        sampled = self.accountant.epsilon([PoissonSampledGaussian(3, 1.0, 2)], DELTA)
        assert sampled == self.accountant.epsilon([GaussianRelease(3)] * 2, DELTA)

    def test_hopeless_noise_gives_no_figure_that_looks_like_privacy(self) -> None:
        assert self.accountant.epsilon([Composition((GaussianRelease(1e-3),), 10**9)], DELTA) > 1e6
        assert self.accountant.delta([Composition((GaussianRelease(1e-3),), 10**9)], 8.0) > 0.999

    def test_unknown_events_are_refused(self) -> None:
        with pytest.raises(RefusedError, match="not a privacy event"):
            self.accountant.epsilon(["laplace"], DELTA)  # type: ignore[list-item]

    def test_it_is_in_the_register(self) -> None:
        assert ACCOUNTANTS[self.accountant.name]("add-remove") == self.accountant

    def _sampled(self, noise: float = NOISE, rate: float = RATE, steps: int = STEPS) -> float:
        return self.accountant.epsilon([PoissonSampledGaussian(noise, rate, steps)], DELTA)


class TestPldAccountant(AccountantConformance):
    accountant = PldAccountant()
    column = 0

    @pytest.mark.parametrize(
        ("noise", "rate", "steps", "delta"), [row[:4] for row in REFERENCES if row[1] == 1]
    )
    def test_without_sampling_it_is_the_analytic_gaussian(
        self, noise: float, rate: float, steps: int, delta: float
    ) -> None:
        found = self.accountant.epsilon([PoissonSampledGaussian(noise, rate, steps)], delta)
        assert found == pytest.approx(gdp_epsilon(gdp_mu(noise, steps), delta), abs=1e-5)

    def test_a_coarser_grid_is_never_below_a_finer_one(self) -> None:
        finer, coarser = PldAccountant(), PldAccountant(interval=2e-3)
        assert finer.epsilon([SAMPLED], DELTA) <= coarser.epsilon([SAMPLED], DELTA)

    @pytest.mark.parametrize("mu", [6.0, 10.0])
    def test_large_losses_are_accounted_on_a_coarser_grid(self, mu: float) -> None:
        exact = gdp_epsilon(mu, DELTA)
        assert exact - 1e-6 <= self.accountant.epsilon([GaussianRelease(1 / mu)], DELTA) <= exact + 1e-2

    def test_replacing_a_unit_moves_an_unsampled_release_twice_as_far(self) -> None:
        replaced = PldAccountant("replace-one").epsilon([GaussianRelease(4)], DELTA)
        assert replaced == pytest.approx(gdp_epsilon(0.5, DELTA), abs=1e-5)

    def test_zeroing_a_unit_costs_what_removing_it_costs(self) -> None:
        assert PldAccountant("zero-out").epsilon([SAMPLED], DELTA) == self.accountant.epsilon(
            [SAMPLED], DELTA
        )

    def test_distributed_noise_is_refused(self) -> None:
        with pytest.raises(RefusedError, match="rdp"):
            self.accountant.epsilon([DistributedDiscreteGaussian(2, 20, 100, 10**6)], DELTA)


class TestRdpAccountant(AccountantConformance):
    accountant = RdpAccountant()
    column = 1

    def test_it_is_never_below_the_tight_accountant(self) -> None:
        assert self.accountant.epsilon([SAMPLED], DELTA) >= PldAccountant().epsilon([SAMPLED], DELTA)

    def test_replacing_a_unit(self) -> None:
        replaced = RdpAccountant("replace-one")
        assert replaced.epsilon([GaussianRelease(4)], DELTA) == self.accountant.epsilon(
            [GaussianRelease(2)], DELTA
        )
        with pytest.raises(RefusedError, match="pld"):
            replaced.epsilon([SAMPLED], DELTA)

    def test_orders_left_out_leave_no_message(self, caplog: pytest.LogCaptureFixture) -> None:
        RdpAccountant(orders=(1.1, 1.2, 4.0)).epsilon([PoissonSampledGaussian(1, 0.1)], DELTA)
        assert caplog.records == []


def test_every_accountant_conforms() -> None:
    tested = {suite.accountant.name for suite in AccountantConformance.__subclasses__()}
    assert tested == set(ACCOUNTANTS)


INTEGER_ORDERS = tuple(map(float, range(2, 257)))


@pytest.mark.parametrize(("local", "epsilon"), [(4.0, 4.753), (2.0, 4.753), (1.0, 7.88)])
def test_distributed_noise_has_its_reference_epsilon(local: float, epsilon: float) -> None:
    # d = 10^6 coordinates, 100 sites, z = 1: the bound is ten local deviations.
    event = DistributedDiscreteGaussian(local, round(10 * local), 100, 10**6)
    assert RdpAccountant(orders=INTEGER_ORDERS).epsilon([event], DELTA) == pytest.approx(epsilon, abs=1e-3)
    assert RdpAccountant().epsilon([event], DELTA) <= epsilon


def test_distributed_noise_finer_than_the_grid_is_vacuous() -> None:
    assert RdpAccountant().epsilon([DistributedDiscreteGaussian(0.5, 5, 100, 10**6)], DELTA) > 1e6


def test_distributed_noise_above_the_grid_is_gaussian() -> None:
    distributed = RdpAccountant().epsilon([DistributedDiscreteGaussian(8, 80, 100, 10**4)], DELTA)
    assert distributed == pytest.approx(RdpAccountant().epsilon([GaussianRelease(1)], DELTA), abs=1e-9)


def test_many_survivors_are_bounded_from_above() -> None:
    def epsilon(survivors: int) -> float:
        event = DistributedDiscreteGaussian(0.9, 40, survivors, 10)
        return RdpAccountant().epsilon([event], DELTA)

    exact, bounded = epsilon(1000), epsilon(1100)
    assert 0 < bounded < exact
    assert math.isfinite(RdpAccountant().epsilon([DistributedDiscreteGaussian(3, 40, 10**9, 10)], DELTA))


def test_an_imperfect_sampler_is_paid_for_out_of_delta() -> None:
    ideal = DistributedDiscreteGaussian(2, 20, 100, 10**6)
    imperfect = DistributedDiscreteGaussian(2, 20, 100, 10**6, sampler_distance=2e-9)
    accountant = RdpAccountant()
    found = accountant.epsilon([imperfect], DELTA)
    assert accountant.epsilon([ideal], DELTA) < found < 1.1 * accountant.epsilon([ideal], DELTA)
    # The guarantee holds: what the imperfection adds to δ at this ε fits with the rest.
    assert accountant.delta([ideal], found) + (1 + math.exp(found)) * 2e-9 <= DELTA
    assert accountant.delta([imperfect], found) <= DELTA


def test_a_sampler_that_uses_up_delta_leaves_no_guarantee() -> None:
    hopeless = DistributedDiscreteGaussian(2, 20, 100, 10**6, sampler_distance=1e-6)
    assert RdpAccountant().epsilon([hopeless], DELTA) == math.inf
    assert RdpAccountant().delta([hopeless], 1000.0) == 1.0

import math

import dp_accounting
import pytest
from closed_forms import gdp_delta, gdp_epsilon, gdp_mu
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.privacy.accountants import ACCOUNTANTS, PldAccountant, RdpAccountant
from sealora.privacy.conversions import (
    epsilon_at_once,
    group_delta,
    group_epsilon,
    scale_sensitivity,
)
from sealora.privacy.events import (
    Composition,
    DistributedDiscreteGaussian,
    GaussianRelease,
    PoissonSampledGaussian,
    Relation,
)
from sealora.protocol.errors import RefusedError, UsageError

DELTA = 1e-5
COARSE = PldAccountant(interval=1e-3)


@pytest.mark.parametrize(
    ("noise", "releases", "delta", "epsilon"),
    [
        (1, 1, 1e-5, 4.3772),
        (4, 1, 1e-5, 0.9263),
        (2, 10, 1e-6, 8.3062),
        (8, 50, 1e-5, 3.7965),
        (5, 20, 1e-6, 4.3058),
    ],
)
def test_gdp_reference_values(noise: float, releases: int, delta: float, epsilon: float) -> None:
    assert gdp_epsilon(gdp_mu(noise, releases), delta) == pytest.approx(epsilon, abs=5e-5)


@settings(deadline=None, max_examples=100)
@given(st.floats(0.05, 8.0), st.floats(1e-10, 0.1))
def test_gdp_agrees_with_the_analytic_gaussian_of_dp_accounting(mu: float, delta: float) -> None:
    theirs = dp_accounting.get_epsilon_gaussian(1 / mu, delta)
    assert gdp_epsilon(mu, delta) == pytest.approx(theirs, rel=1e-6, abs=1e-9)


def test_gdp_at_its_ends() -> None:
    assert gdp_epsilon(0.001, 0.1) == 0
    assert gdp_epsilon(60.0, DELTA) == math.inf
    assert gdp_delta(60.0, 701.0) > 0.99


def test_groups_scale_the_sensitivity_of_unsampled_releases() -> None:
    assert scale_sensitivity(GaussianRelease(6), 3) == GaussianRelease(2)
    assert scale_sensitivity(PoissonSampledGaussian(6, 1.0, 4), 2) == PoissonSampledGaussian(3, 1.0, 4)
    distributed = DistributedDiscreteGaussian(2, 20, 100, 10)
    assert scale_sensitivity(distributed, 2) == DistributedDiscreteGaussian(2, 40, 100, 10)
    nested = Composition((GaussianRelease(6), distributed), 7)
    assert scale_sensitivity(nested, 2) == Composition(
        (GaussianRelease(3), DistributedDiscreteGaussian(2, 40, 100, 10)), 7
    )
    with pytest.raises(RefusedError, match="group_epsilon"):
        scale_sensitivity(PoissonSampledGaussian(1, 0.5), 2)


def test_group_delta_is_the_geometric_sum() -> None:
    epsilon, delta = group_delta(3, 0.5, 1e-6)
    assert epsilon == 1.5
    assert delta == pytest.approx(1e-6 * (math.exp(1.5) - 1) / (math.exp(0.5) - 1))
    assert group_delta(1, 0.5, 1e-6) == (0.5, 1e-6)
    assert group_delta(2, 400.0, 1e-6) == (800.0, 1.0)


def test_a_group_of_one_is_a_unit() -> None:
    event = PoissonSampledGaussian(4, 0.05, 200)
    one = COARSE.epsilon([event], DELTA)
    assert one <= group_epsilon(COARSE, [event], 1, DELTA) <= one * 1.001


def test_groups_cost_more_the_larger_they_are_and_never_less_than_the_truth() -> None:
    event = GaussianRelease(8)
    found = [group_epsilon(COARSE, [event], size, DELTA) for size in (1, 2, 3, 4)]
    exact = [gdp_epsilon(size / 8, DELTA) for size in (1, 2, 3, 4)]
    assert found == sorted(found)
    assert all(e - 1e-6 <= f <= 1.2 * e + 1e-3 for f, e in zip(found, exact, strict=True))


def test_a_group_of_two_bounds_a_replaced_record_under_sampling() -> None:
    event = PoissonSampledGaussian(4, 0.05, 200)
    replaced = PldAccountant("replace-one", interval=1e-3).epsilon([event], DELTA)
    assert COARSE.epsilon([event], DELTA) < replaced <= group_epsilon(COARSE, [event], 2, DELTA)


def test_a_hopeless_group_has_no_guarantee() -> None:
    assert group_epsilon(RdpAccountant(), [GaussianRelease(0.05)], 100, DELTA) == math.inf


def test_units_at_once_by_either_accountant() -> None:
    """A replacement costs more than a unit and no more than two, as which rdp counts sampled ones."""
    events = [PoissonSampledGaussian(4, 0.05, 200)]

    def spent(name: str, relation: Relation, size: int) -> float:
        return epsilon_at_once(ACCOUNTANTS[name], relation, events, size, DELTA)

    for name in ACCOUNTANTS:
        one = spent(name, "add-remove", 1)
        assert one == ACCOUNTANTS[name]("add-remove").epsilon(events, DELTA)
        assert one < spent(name, "replace-one", 1) <= spent(name, "add-remove", 2) * 1.001
        assert spent(name, "add-remove", 2) < spent(name, "add-remove", 3)
    assert spent("rdp", "replace-one", 1) == spent("rdp", "add-remove", 2)
    plain = epsilon_at_once(ACCOUNTANTS["rdp"], "replace-one", [GaussianRelease(4)], 1, DELTA)
    assert plain == RdpAccountant().epsilon([GaussianRelease(2)], DELTA)


@pytest.mark.parametrize("delta", [math.nan, 0.0, 1.0, -1e-5])
def test_an_impossible_delta_has_no_epsilon(delta: float) -> None:
    for made in ACCOUNTANTS.values():
        with pytest.raises(UsageError, match="is no number between 0 and 1"):
            made("add-remove").epsilon([GaussianRelease(4)], delta)

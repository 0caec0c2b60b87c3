"""The arithmetic behind the figures of sketches."""

import pytest
from products import Case, measure

CASE = Case(96, (2, 4))


def test_the_product_itself_has_the_codecs_error() -> None:
    """Stochastic rounding has a variance of a sixth of a squared step."""
    found = measure(CASE, 0, draw=0)
    assert found.error == pytest.approx(6**-0.5, rel=0.03)
    assert found.values == 96**2


def test_sketches_cost_three_times_their_width() -> None:
    found = measure(CASE, 14, draw=0)
    assert found.values == 3 * 14 * 96
    assert 6**-0.5 < found.error < 2

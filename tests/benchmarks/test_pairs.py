"""The arithmetic behind the benchmarks' figures."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import Spread, cpu_model, gigaflops, interleave, json_line, machine, ratios, t_interval, table

FINITE = st.floats(-1e6, 1e6)


def test_contestants_take_turns_and_the_first_moves_on() -> None:
    calls: list[tuple[str, int]] = []

    def work(name: str) -> object:
        return lambda pair: calls.append((name, pair)) or f"{name}{pair}"

    results = interleave({name: work(name) for name in "abc"}, pairs=4)
    assert [name for name, _ in calls] == list("abc" + "bca" + "cab" + "abc")
    assert [pair for _, pair in calls] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert results == {name: [f"{name}{pair}" for pair in range(4)] for name in "abc"}


def test_ratios_are_taken_within_pairs() -> None:
    # A machine that halves its speed in the second pair changes no ratio.
    assert ratios([30, 15], [10, 5]) == [3, 3]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=9), st.randoms())
def test_a_spread_ignores_the_order(values: list[float], random: object) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    spread = Spread.of(values)
    assert spread == Spread.of(shuffled)
    assert spread.least <= spread.median <= spread.most
    assert {spread.least, spread.most} <= set(values)


def test_spreads_of_even_numbers_and_their_text() -> None:
    spread = Spread.of([4.0, 1.0, 2.0, 3.0])
    assert spread == Spread(2.5, 1.0, 4.0)
    assert spread.text(1) == "2.5 (1.0 to 4.0)"


def test_the_interval_is_students() -> None:
    # Student's t at 97.5 % with 4 degrees of freedom is 2.776; mean 3, s = 1.5811, n = 5.
    low, high = t_interval([1, 2, 3, 4, 5])
    assert (low, high) == pytest.approx((3 - 2.776445 * 1.581139 / 5**0.5, 3 + 2.776445 * 1.581139 / 5**0.5))
    # With 1 degree of freedom it is 12.706.
    assert t_interval([0.0, 2.0])[1] == pytest.approx(1 + 12.7062047)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=2, max_size=9), FINITE)
def test_the_interval_moves_with_the_differences(differences: list[float], shift: float) -> None:
    low, high = t_interval(differences)
    moved = t_interval([value + shift for value in differences])
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-3, rel=1e-6)
    assert low <= high


def test_one_difference_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        t_interval([0.1])


def test_tables_align() -> None:
    assert table(("name", "x"), [("a", "10"), ("longer", "9")]).splitlines() == [
        "name     x",
        "a       10",
        "longer   9",
    ]


def test_the_last_line_is_json_with_rounded_figures() -> None:
    line = json_line("training", {"speed": 12345.678, "ratio": 1.0 / 3.0, "rows": 7})
    assert "\n" not in line
    assert json.loads(line) == {
        "benchmark": "training",
        "figures": {"speed": 12346.0, "ratio": 0.33333, "rows": 7.0},
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_figures_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        json_line("training", {"speed": value})


def test_the_machine_is_described_in_one_line() -> None:
    line = machine()
    assert cpu_model() in line
    assert "GFLOP/s" in line
    assert "\n" not in line
    assert gigaflops(tries=1) > 0

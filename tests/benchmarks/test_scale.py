"""How the benchmark of scale fits its law, follows phases, and counts the coordinator's arithmetic."""

import pytest
from scale import COHORT, PHASES, ROUNDS, PhaseClock, Run, draw, formula, law
from scale_workload import write_plan


def run(clients: int, seconds: float) -> Run:
    from process_tree import Measured

    return Run(clients, min(clients, COHORT), Measured(seconds, 500_000_000, 0), {}, [])


def test_a_site_works_in_its_rounds_and_in_the_evaluation() -> None:
    assert run(10, 1.0).worked == 10 * ROUNDS + 10
    assert run(10_000, 1.0).worked == COHORT * ROUNDS + 10_000


def test_sites_meet_in_sessions_with_real_keys() -> None:
    assert run(10, 1.0).met == 100 * ROUNDS + 100
    assert run(10_000, 1.0).met == COHORT**2 * ROUNDS


def test_the_law_is_found_and_relative_errors_count() -> None:
    runs = [run(clients, 0.0) for clients in (10, 100, 1000, 10_000)]
    exact = [run(one.clients, 2 + 0.5 * one.worked + 0.01 * one.met) for one in runs]
    assert law(exact) == pytest.approx((2, 0.5, 0.01))
    start, each, pair = law([run(10, 1.0), run(10_000, 1000.0)])
    assert start + each * runs[0].worked + pair * runs[0].met == pytest.approx(1.0, rel=0.01)


def test_the_picture_is_drawn(tmp_path) -> None:
    draw({"local": ([run(10, 5.0), run(100, 9.0)], (4.0, 0.02, 0.001))}, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


def test_work_counts_for_the_phase_that_is_open() -> None:
    clock, times = PhaseClock(), iter(range(0, 100))

    def requests() -> None:
        """What ends a phase."""

    clock_of = pytest.MonkeyPatch()
    clock_of.setattr("scale.time.process_time", lambda: next(times))
    try:
        for _ in range(2):
            clock(lambda: None)
        clock(requests)
        clock(lambda: None)
    finally:
        clock_of.undo()
    assert clock.seconds[:3] == [3, 1, 0]


def test_the_formula_grows_with_what_it_counts() -> None:
    few, many = formula(100, 10, 90), formula(1000, 100, 900)
    assert len(few) == len(PHASES)
    assert many[1] == pytest.approx(10 * few[1])
    # On a complete graph a lost site costs a mask for each survivor, on a sparse one for each neighbour.
    assert many[4] < 10 * few[4]
    assert formula(100, 0, 90)[4] < few[4] / 4


def test_the_workload_can_be_run(tmp_path) -> None:
    import sealora

    plan = sealora.Plan.load(write_plan(tmp_path, 20, 10, dropout=0.1))
    assert (plan.simulation.sites, plan.cohort.size, plan.secure_aggregation.colluders) == (20, 10, 1)
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 201

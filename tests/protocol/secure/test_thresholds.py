"""Thresholds, and the graph for many sites, against published numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora.protocol.graph import COMPLETE_UP_TO, Neighbourhoods, regular, shape
from sealora.protocol.thresholds import floor, smallest_n_min, threshold, tolerance

sizes = st.integers(1, 500)


@given(sites=sizes, data=st.data())
def test_two_quorums_share_an_honest_site(sites, data):
    colluders = data.draw(st.integers(0, sites - 1))
    shared = threshold(sites, colluders)
    assert 2 * shared > sites + colluders
    assert 2 * (shared - 1) <= sites + colluders


@given(sites=sizes, data=st.data())
def test_t_closures_leave_too_few_to_open(sites, data):
    colluders = data.draw(st.integers(0, sites - 1))
    shared = threshold(sites, colluders)
    honest_closers = shared - colluders
    assert (sites - colluders - honest_closers) + colluders < shared


@pytest.mark.parametrize(
    ("sites", "shared", "dropouts"), [(4, 3, 0), (5, 4, 1), (6, 5, 1), (7, 5, 2), (9, 7, 2), (10, 7, 3)]
)
def test_a_third_of_colluders(sites, shared, dropouts):
    colluders = sites // 3
    forecast = tolerance(sites, colluders, smallest_n_min(colluders))
    assert forecast.threshold == shared
    assert forecast.dropouts["mask"] == dropouts
    assert forecast.problem == ""
    assert forecast.honest >= 3


@pytest.mark.parametrize(
    ("sites", "colluders", "n_min", "problem"),
    [
        (3, 1, 4, "at least 4 sites must take part, or at most 0 may collude"),
        (2, 0, 3, "at least 3 sites must take part."),
        (5, 1, 3, "it must be at least 4"),
        (5, 0, 6, "the cohort has only 5 sites"),
    ],
)
def test_what_cannot_work_is_explained(sites, colluders, n_min, problem):
    assert problem in tolerance(sites, colluders, n_min).problem


def test_three_sites_without_colluders_work():
    assert tolerance(3, 0, 3).problem == ""


@given(sites=st.integers(3, 60), data=st.data())
def test_the_forecast_agrees_with_the_rules(sites, data):
    colluders = data.draw(st.integers(0, sites - 3))
    n_min = data.draw(st.integers(colluders + 3, sites))
    forecast = tolerance(sites, colluders, n_min)
    if forecast.problem:
        return
    left = sites - forecast.dropouts["advertise"]
    assert left >= floor(left, colluders, n_min)
    assert left == n_min or left - 1 < floor(left - 1, colluders, n_min)
    assert sites - forecast.dropouts["mask"] == floor(sites, colluders, n_min)
    assert sites - forecast.dropouts["unmask"] == threshold(sites, colluders)


@pytest.mark.parametrize(
    ("corrupt", "drop", "expected"),
    [
        (0.05, 0.05, [(30, 17), (34, 20), (36, 21)]),
        (0.1, 0.1, [(48, 27), (54, 31), (58, 33)]),
        (0.33, 0.1, [(102, 72), (126, 88), (138, 96)]),
        (0.05, 0.33, [(72, 24), (86, 29), (96, 32)]),
        (0.33, 0.33, [(286, 150), (422, 221), (480, 251)]),
        (0.45, 0.45, [(822, 417)]),
    ],
)
def test_degree_and_threshold_are_the_published_ones(corrupt, drop, expected):
    sizes = (1000, 10_000, 100_000)[: len(expected)]
    assert [regular(sites, corrupt, drop) for sites in sizes] == expected


def neighbourhoods(sites, degree, seed):
    found = Neighbourhoods(sites, degree, seed)
    return [found[position] for position in range(sites)]


def test_up_to_two_hundred_sites_everybody_knows_everybody():
    assert shape(COMPLETE_UP_TO, 20, 111, 150).adversary == "malicious"
    assert shape(COMPLETE_UP_TO, 20, 111, 150).degree == 199
    assert neighbourhoods(5, 4, b"seed") == [(0, 1, 2, 3, 4)] * 5


def test_above_the_graph_is_sparse_and_says_so():
    sparse = shape(1000, 50, 526, 950)
    assert (sparse.degree, sparse.threshold, sparse.adversary) == (30, 17, "semi-honest")


def test_where_no_sparse_graph_is_safe_it_is_complete():
    assert shape(201, 101, 152, 90).adversary == "malicious"
    assert shape(201, 101, 152, 90).degree == 200


def test_a_sparse_graph_withstands_some_colluders_even_if_none_is_assumed():
    assert shape(1000, 0, 501, 950) == shape(1000, 50, 526, 950)


@pytest.mark.parametrize(("sites", "degree"), [(41, 10), (300, 48)])
def test_the_sparse_graph_is_regular_symmetric_and_connected(sites, degree):
    near = neighbourhoods(sites, degree, b"seed")
    assert all(len(own) == degree + 1 and position in own for position, own in enumerate(near))
    assert all(position in near[other] for position, own in enumerate(near) for other in own)
    reached, new = {0}, {0}
    while new:
        new = {other for position in new for other in near[position]} - reached
        reached |= new
    assert len(reached) == sites


def test_only_the_neighbourhoods_asked_for_are_worked_out():
    found = Neighbourhoods(300, 48, b"seed")
    assert found[7] == neighbourhoods(300, 48, b"seed")[7]
    assert set(found._known) == {7}


def test_the_seed_decides_the_graph():
    assert neighbourhoods(50, 10, b"one") == neighbourhoods(50, 10, b"one")
    assert neighbourhoods(50, 10, b"one") != neighbourhoods(50, 10, b"two")

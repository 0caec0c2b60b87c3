"""Several sites at work at the same time: the same results, in the same order, and a clean end."""

import threading

import pytest

from sealora.simulation.workers import run_all


def silent():
    """Nothing is stopped."""


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_asking(workers):
    assert list(run_all(lambda x: x * x, [3, 1, 2], workers, silent)) == [(3, 9), (1, 1), (2, 4)]


def test_as_many_work_at_once_as_there_are_workers():
    barrier = threading.Barrier(3)
    places = [place for _, place in run_all(lambda _: barrier.wait(10), range(3), 3, silent)]
    assert sorted(places) == [0, 1, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_reaches_the_caller(workers):
    def fail(item):
        raise OSError(item)

    with pytest.raises(OSError, match="first"):
        list(run_all(fail, ["first"], workers, silent))


def test_ctrl_c_stops_those_at_work_and_starts_no_more():
    stopped, begun = threading.Event(), []

    def work(item):
        begun.append(item)
        if item == "interrupted":
            raise KeyboardInterrupt
        assert stopped.wait(10)

    with pytest.raises(KeyboardInterrupt):
        list(run_all(work, ["interrupted", "at work", "never"], 2, stopped.set))
    assert set(begun) >= {"interrupted", "at work"}


def test_what_has_not_begun_never_does_when_nobody_listens():
    begun = []
    results = run_all(begun.append, range(100), 1, silent)
    next(results)
    results.close()
    assert begun == [0]

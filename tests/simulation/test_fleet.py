"""The in-process fleet: sites in order, faults in the phase they are written for, virtual time."""

import pytest

from sealora.protocol import messages
from sealora.protocol.messages import Header, Open, Work
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.fleet import InProcessFleet

SITES = ("a", "b", "c")


def opening(round_number=1, attempt=1, work=Work.TRAIN):
    header = Header(
        plan_hash=bytes(32), run=bytes(16), round=round_number, attempt=attempt, work=work,
        model_hash=bytes(32), cohort=SITES, quorum=1, words=1, levels=1,
    )  # fmt: skip
    return messages.request(Open(header.serialise(), b"", ()))


LATER = messages.request(b"later")


def fleet(faults=None):
    """A fleet whose sites answer with their name, and the log of who was reached."""
    reached = []

    def handler(name):
        return lambda request: reached.append(name) or name.encode() * len(request)

    return InProcessFleet({name: handler(name) for name in reversed(SITES)}, faults), reached


def exchange(ours, request, deadline=10.0, sites=SITES):
    return [site for site, _ in ours.exchange(dict.fromkeys(sites, request), deadline)]


def test_sites_answer_in_order():
    ours, _ = fleet()
    assert ours.sites == SITES
    request = opening()
    assert list(ours.exchange({"c": request, "a": request}, 1.0)) == [
        ("a", b"a" * len(request)), ("c", b"c" * len(request)),
    ]  # fmt: skip


def test_only_those_who_are_asked_are_reached():
    ours, reached = fleet()
    exchange(ours, opening(), sites=("b",))
    assert reached == ["b"]


def test_an_abandoned_exchange_reaches_no_more_sites():
    ours, reached = fleet()
    next(ours.exchange(dict.fromkeys(SITES, opening()), 1.0))
    assert reached == ["a"]


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_lost_site_is_silent_from_its_phase_on(phase):
    ours, reached = fleet(Faults(script={("b", 1): Fault(phase)}))
    answers = [exchange(ours, request) for request in (opening(), LATER, LATER)]
    assert ["b" in who for who in answers] == [number < phase for number in range(3)]
    assert reached.count("b") == phase, "a lost site does not work either"


def test_a_fault_passes_after_its_requests():
    ours, _ = fleet(Faults(script={("b", 1): Fault(1, times=2)}))
    answers = [exchange(ours, request) for request in (opening(), LATER, LATER, LATER)]
    assert ["b" in who for who in answers] == [True, False, False, True]


def test_an_attempt_that_another_fleet_has_opened_meets_no_fault():
    ours, _ = fleet(Faults(script={("b", 1): Fault(0)}))
    assert exchange(ours, LATER) == ["a", "b", "c"]


def test_a_late_site_works_in_vain():
    ours, reached = fleet(Faults(script={("b", 1): Fault(0, delay=11.0)}))
    assert exchange(ours, opening(), deadline=10.0) == ["a", "c"]
    assert reached == ["a", "b", "c"]
    assert exchange(ours, opening(round_number=1, attempt=1), deadline=11.0) == ["a", "b", "c"]


def test_a_retry_reaches_the_site_again():
    ours, _ = fleet(Faults(script={("b", 1): Fault(0)}))
    assert exchange(ours, opening(attempt=1)) == ["a", "c"]
    assert exchange(ours, opening(attempt=2)) == ["a", "b", "c"]


def test_the_first_attempt_after_a_restart_counts_as_the_first():
    ours, _ = fleet(Faults(script={("b", 1): Fault(0)}))
    assert exchange(ours, opening(attempt=4)) == ["a", "c"]
    assert exchange(ours, opening(attempt=5)) == ["a", "b", "c"]


def test_another_round_is_another_matter():
    ours, _ = fleet(Faults(script={("b", 1): Fault(0), ("c", 2): Fault(1)}))
    assert exchange(ours, opening(1)) == ["a", "c"]
    assert exchange(ours, opening(2)) == ["a", "b", "c"]
    assert exchange(ours, LATER) == ["a", "b"]


def test_the_evaluation_has_no_faults():
    ours, _ = fleet(Faults(script={("b", 1): Fault(0)}))
    assert exchange(ours, opening(work=Work.EVALUATE)) == list(SITES)

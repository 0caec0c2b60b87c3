"""The ideal functionality beside real keys: the same sums of the same sites, bit for bit."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sealora.plan.settings import RoundsSettings, SimulationSettings
from sealora.protocol.errors import AttemptPending, ProtocolError, RunError
from sealora.protocol.messages import Header, Open, Work
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.events import AttemptLost, RoundDone, SiteAnswered
from sealora.simulation.faults import LATE, LOST, Fault, Faults
from sealora.simulation.ideal import IdealCoordinatorHalf, IdealSiteHalf, TrustedParty
from sealora.simulation.toy import toy_federation, toy_plan

SITES = 6
REAL, IDEAL = 1000, 0
"""Values of simulation.ideal_above."""
PHASES = range(5)


class Recorder:
    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(event)


def run(folder, ideal_above, script=(), **sections):
    """What a run of two rounds tells, and how it ends."""
    plan = toy_plan(
        rounds=RoundsSettings(count=2),
        secure_aggregation=SecureAggregationSettings(),
        simulation=SimulationSettings(ideal_above=ideal_above),
        **sections,
    )
    recorder, toy = Recorder(), toy_federation(folder, SITES, plan)
    try:
        adapter, evaluated = toy.coordinator(Faults(script=dict(script)), [recorder]).run()
    except RunError as error:
        return (type(error), error.message.partition(" No answer")[0][-80:]), recorder.events
    return (adapter.sha256(), evaluated.metrics), recorder.events


def story(events):
    """Everything but bytes, seconds and what names keys."""
    kept = []
    for event in events:
        if isinstance(event, SiteAnswered):
            event = replace(event, bytes_down=0, bytes_up=0)
        if isinstance(event, RoundDone):
            record = event.record
            kept.append((record.round, record.attempt, record.contributors, record.metrics))
        elif isinstance(event, AttemptLost):
            kept.append((event.round, event.attempt))
        else:
            kept.append(event)
    return kept


CASES = {
    "nobody is lost": {},
    **{f"one is lost in phase {phase}": {("site-2", 1): Fault(phase)} for phase in PHASES},
    **{
        f"two are lost in phases {one} and {two}": {("site-2", 1): Fault(one), ("site-5", 1): Fault(two)}
        for one, two in itertools.combinations_with_replacement(PHASES, 2)
    },
    "one is late": {("site-3", 1): Fault(0, LATE)},
    "one is late with its mask": {("site-3", 1): Fault(2, LATE)},
    "three are late to open, once": {(f"site-{n}", 1): Fault(4, LATE, 1) for n in (1, 2, 3)},
    "three never open": {(f"site-{n}", 2): Fault(4, LOST) for n in (1, 2, 3)},
}


@pytest.mark.parametrize("case", CASES)
def test_real_and_ideal_runs_tell_the_same_story(tmp_path, case):
    real, told = run(tmp_path / "real", REAL, CASES[case])
    ideal, expected = run(tmp_path / "ideal", IDEAL, CASES[case])
    assert real[0] == ideal[0]
    assert real[1] == ideal[1] or real[0] is AttemptPending
    assert story(told) == story(expected)


def test_every_round_names_it(tmp_path):
    done = [event for event in run(tmp_path / "ideal", IDEAL)[1] if isinstance(event, RoundDone)]
    assert {event.record.guarantee for event in done} == {
        "an ideal functionality in place of secure aggregation, as cohorts of more than 0 sites are "
        "simulated without keys"
    }
    done = [event for event in run(tmp_path / "real", SITES)[1] if isinstance(event, RoundDone)]
    assert {event.record.guarantee[:26] for event in done} == {"secure aggregation against"}
    done = [event for event in run(tmp_path / "above", SITES - 1)[1] if isinstance(event, RoundDone)]
    assert {event.record.guarantee[:22] for event in done} == {"an ideal functionality"}


COHORT = tuple(f"site-{number}" for number in range(5))
HEADER = Header(
    plan_hash=bytes(32), run=bytes(16), round=1, attempt=1, work=Work.TRAIN, model_hash=bytes(32),
    cohort=COHORT, quorum=3, words=4, levels=1, colluders=1, n_min=4, roster_hash=bytes(32),
).serialise()  # fmt: skip


@pytest.fixture
def parties():
    """A coordinator's half and the sites', with words of their own."""
    party, opening = TrustedParty(HEADER), Open(HEADER, b"", ())
    sites = {site: IdealSiteHalf(opening, site, party) for site in COHORT}
    words = {site: np.full(4, 2**63 + number, np.uint64) for number, site in enumerate(COHORT)}
    return IdealCoordinatorHalf(HEADER, party), sites, words


def test_the_sum_is_modulo_2_to_the_64(parties):
    half, sites, words = parties
    for site, site_half in sites.items():
        half.receive(site, site_half.start(words[site]))
    half.advance()
    while requests := half.requests():
        for site, message in requests.items():
            half.receive(site, sites[site].receive(message))
        half.advance()
    total = half.result()
    assert total.contributors == COHORT
    assert np.array_equal(total.words, np.full(4, 5 * 2**63 % 2**64 + 10, np.uint64))


def test_nobody_else_and_nobody_twice(parties):
    half, sites, words = parties
    first = sites["site-0"].start(words["site-0"])
    half.receive("site-0", first)
    for site, message in (("site-0", first), ("stranger", first)):
        with pytest.raises(ProtocolError, match="not expected"):
            half.receive(site, message)
    with pytest.raises(ProtocolError, match="another question"):
        half.receive("site-1", b"other")
    with pytest.raises(ProtocolError, match="another attempt"):
        IdealSiteHalf(Open(HEADER + b"x", b"", ()), "site-1", half._party)
    with pytest.raises(ProtocolError, match="another attempt"):
        sites["site-0"].receive(b"\x01" + bytes(32))
    with pytest.raises(RuntimeError):
        half.result()

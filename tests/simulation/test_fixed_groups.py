"""Rules over sums of fixed groups, each a secure session of its own: losses, retries, restarts, attackers."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from sealora.plan.cohort_sizes import cohort_sizes
from sealora.plan.settings import RoundsSettings
from sealora.protocol.errors import AttemptPending, PlanError, ProtocolError, RunError
from sealora.protocol.groups import check_group, fixed_groups
from sealora.protocol.messages import Header, Reason, Refusal, contribution, parse_request, reply
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.events import (
    AttemptLost,
    AttemptOpened,
    PhaseOpened,
    RoundDone,
    SiteAnswered,
    SiteRefused,
)
from sealora.server.session_file import SessionFile
from sealora.server.sessions import SecureSessions
from sealora.server.store import CheckpointStore
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.toy import toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings

MASKED = SecureAggregationSettings(colluders=0)
SITES = [f"site-{number}" for number in range(1, 16)]
TRAIN, _, _, CHECK, UNMASK = range(5)


def plan_of(groups=5, attackers=1, name="median", rounds=3, **sections):
    settings = StrategySettings(name=name, options={"groups": groups, "attackers": attackers})
    defaults = {"rounds": RoundsSettings(count=rounds), "secure_aggregation": MASKED}
    return toy_plan(strategy=settings, **{**defaults, **sections})


GROUPS = fixed_groups(0, SITES, 5)
"""Of three each; none of them can lose a member."""


class Recorder:
    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def records(self):
        return [event.record for event in self.of(RoundDone)]


def run(folder, faults=None, plan=None, sites=15):
    recorder = Recorder()
    adapter, evaluated = (
        toy_federation(folder, sites, plan or plan_of()).coordinator(faults, [recorder]).run()
    )
    return adapter.sha256(), evaluated, recorder


def lose(*groups, round_number=2, phase=TRAIN):
    """Faults that end the sessions of these groups: one member before R3, or two after it, are too many."""
    members = 2 if phase >= CHECK else 1
    script = {(site, round_number): Fault(phase) for group in groups for site in GROUPS[group][:members]}
    return Faults(script=script)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


def test_groups_are_even_and_the_same_for_everybody():
    assert sorted(site for group in GROUPS for site in group) == sorted(SITES)
    assert fixed_groups(0, SITES[::-1], 5) == GROUPS
    assert fixed_groups(1, SITES, 5) != GROUPS
    assert [len(group) for group in fixed_groups(0, SITES, 4)] == [4, 4, 4, 3]
    assert cohort_sizes(plan_of(groups=4), 15) == (4, 4, 4, 3)
    for group in GROUPS:
        for site in group:
            check_group(group[:2], 0, SITES, 5, site)
    with pytest.raises(ProtocolError, match="not within this site's fixed group"):
        check_group(GROUPS[0], 0, SITES, 5, GROUPS[1][0])
    with pytest.raises(PlanError, match="15 sites do not make 16 groups"):
        fixed_groups(0, SITES, 16)


def test_each_group_is_a_session_of_its_own_in_every_round(whole):
    _, evaluated, recorder = whole
    for record in recorder.records:
        assert [group.cohort for group in record.groups] == list(GROUPS)
        assert len({group.transcript for group in record.groups}) == 5
        assert record.contributors == tuple(sorted(SITES))
        assert record.guarantee.endswith("0 colluding sites, within each of 5 groups, whose sums it sees")
    assert not recorder.of(AttemptLost)
    assert evaluated.contributors == tuple(sorted(SITES))
    # All groups work at the same time: a phase of all of them is one exchange.
    phases = [event for event in recorder.of(PhaseOpened) if event.round == 1]
    assert [(event.phase, event.sites) for event in phases] == [
        (phase, 15) for phase in ("train", "share", "mask", "check", "unmask")
    ]


def test_a_lost_group_does_not_lose_the_round(tmp_path, whole):
    sha256, _, recorder = run(tmp_path, lose(1, round_number=2))
    assert sha256 != whole[0]
    (lost,) = recorder.of(AttemptLost)
    assert (lost.round, lost.attempt) == (2, 1)
    assert lost.reason.startswith("group 2: 2 sites finished the phase")
    second, third = recorder.records[1:]
    assert [group.group for group in second.groups] == [1, 3, 4, 5]
    assert second.contributors == tuple(sorted(set(SITES) - set(GROUPS[1])))
    assert second.cohort == tuple(sorted(SITES))
    assert [group.group for group in third.groups] == [1, 2, 3, 4, 5], "it takes part again"


@pytest.mark.parametrize("phase", [TRAIN, CHECK])
def test_only_lost_groups_are_tried_again(tmp_path, whole, phase):
    """Three lost groups leave two sums, one fewer than a quorum; those two are kept."""
    sha256, _, recorder = run(tmp_path, lose(0, 1, 2, phase=phase))
    assert sha256 == whole[0], "the faults only strike first attempts"
    opened = [event for event in recorder.of(AttemptOpened) if event.round == 2]
    assert [event.attempt for event in opened] == [1, 2]
    assert opened[1].cohort == tuple(sorted(site for group in GROUPS[:3] for site in group))
    assert [group.attempt for group in recorder.records[1].groups] == [2, 2, 2, 1, 1]
    trained = [
        event.site for event in recorder.of(SiteAnswered) if (event.round, event.phase) == (2, "train")
    ]
    assert all(trained.count(site) == 1 for group in GROUPS[3:] for site in group)
    assert not recorder.of(SiteRefused), "the retried groups' next header tells them of their own attempt"


def test_attackers_stay_in_the_minority_of_groups(tmp_path):
    """Against two attackers all five groups count; one is lost in every attempt, so the run stops."""

    class Lost(Faults):
        def of(self, site, round_number, attempt):
            return Fault(TRAIN) if site == GROUPS[0][0] else None

    with pytest.raises(RunError, match="round 1 found no quorum in 3 attempts"):
        run(tmp_path, Lost(), plan_of(attackers=2))


def test_shares_that_are_held_back_hold_up_one_group_only(tmp_path):
    """Its session is neither opened nor replaced for that model; in the next round it takes part again."""
    _, _, recorder = run(tmp_path, lose(0, phase=UNMASK))
    (lost,) = recorder.of(AttemptLost)
    assert "the sum of round 2 is not open yet" in lost.reason
    assert [group.group for group in recorder.records[1].groups] == [2, 3, 4, 5]
    assert [group.group for group in recorder.records[2].groups] == [1, 2, 3, 4, 5]
    assert not recorder.of(SiteRefused)


def test_a_site_remembers_what_its_own_group_added_up(tmp_path):
    """Groups that were tried again have other attempt numbers than the others."""
    history = run(tmp_path, lose(0, 1, 2))[2].records
    checkpoint = CheckpointStore(tmp_path / "state").load()
    assert checkpoint.history == tuple(history), "as it was written"
    second = replace(checkpoint, history=checkpoint.history[:2])
    told = dict(zip(SITES, second.contributed(SITES), strict=True))
    assert {told[site] for group in GROUPS[:3] for site in group} == {(2, 2)}
    assert {told[site] for group in GROUPS[3:] for site in group} == {(2, 1)}
    assert second.completed_together(GROUPS[0])[0] == (2, 2)
    assert second.completed_together(GROUPS[4][:2])[0] == (2, 1)
    assert second.completed_together((GROUPS[0][0], GROUPS[1][0])) == ((0, 0), b"")


class Death(BaseException):
    """The process ends here."""


class Mortal:
    """Dies when told of a phase of round 2."""

    def __init__(self, phase):
        self.phase = phase

    def notify(self, event):
        if isinstance(event, PhaseOpened) and (event.round, event.phase) == (2, self.phase):
            raise Death


def restarting(folder, plan=None):
    """Makes coordinators over sites that live on, with a file for each group's session."""
    toy = toy_federation(folder, 15, plan or plan_of())
    keys = toy.sessions._real

    def coordinator(faults=None, observers=()):
        file = SessionFile(folder / "state" / "session.bin")
        toy.sessions = SecureSessions(keys._identity, keys._rosters, MASKED, file=file)
        return toy.coordinator(faults, observers)

    return coordinator


@pytest.mark.parametrize("phase", ["train", "mask", "unmask"])
def test_a_coordinator_that_is_killed_takes_every_session_up_again(tmp_path, whole, phase):
    restarted = restarting(tmp_path)
    with pytest.raises(Death):
        restarted(observers=[Mortal(phase)]).run()
    recorder = Recorder()
    assert restarted(observers=[recorder]).run()[0].sha256() == whole[0]
    (opened,) = [event for event in recorder.of(AttemptOpened) if event.round == 2]
    # Sites that no request of an attempt has reached are not asked under its number again.
    assert opened.attempt == 1
    assert not recorder.of(SiteRefused)


def test_groups_that_are_held_up_are_finished_later_and_the_others_kept(tmp_path, whole):
    """Shares of three groups did not come; the sums of two are open, and nobody there is asked again.

    Others in the three release once more what they released: the very same bytes.
    """
    restarted = restarting(tmp_path)
    with pytest.raises(AttemptPending, match="sum of round 2 is not open yet"):
        restarted(lose(0, 1, 2, phase=UNMASK)).run()
    recorder = Recorder()
    assert restarted(observers=[recorder]).run()[0].sha256() == whole[0]
    asked = {event.site for event in recorder.of(SiteAnswered) if event.round == 2}
    assert asked == {site for group in GROUPS[:3] for site in group}
    assert [group.attempt for group in recorder.records[0].groups] == [1] * 5


def test_a_site_follows_only_its_own_group(tmp_path, monkeypatch):
    """A coordinator that forms other groups could learn from the differences of their sums."""
    toy = toy_federation(tmp_path, 15, plan_of())
    coordinator, recorder = toy.coordinator(observers=[Recorder()]), Recorder()
    coordinator.observers = [recorder]
    others = fixed_groups(99, SITES, 5)
    monkeypatch.setattr("sealora.server.gathering.fixed_groups", lambda seed, sites, count: others)
    with pytest.raises(RunError):
        coordinator.run()
    refused = recorder.of(SiteRefused)
    assert refused
    assert {event.text for event in refused} == {"the cohort is not within this site's fixed group"}


def test_without_that_check_it_would(tmp_path, monkeypatch):
    others = fixed_groups(99, SITES, 5)
    monkeypatch.setattr("sealora.server.gathering.fixed_groups", lambda seed, sites, count: others)
    monkeypatch.setattr("sealora.client.site.check_group", lambda *_: None)
    assert [group.cohort for group in run(tmp_path)[2].records[0].groups] == list(others)


def test_the_groups_outlive_a_member(tmp_path):
    """Who is no longer there leaves its group smaller and all others as they are."""
    toy, recorder = toy_federation(tmp_path, 16, plan_of(groups=4)), Recorder()
    coordinator = toy.coordinator(observers=[recorder])
    del coordinator.fleet._sites["site-7"]
    coordinator.run()
    dealt = fixed_groups(0, toy.sites, 4)
    for record in recorder.records:
        for group, members in zip(record.groups, dealt, strict=True):
            assert set(group.cohort) == set(members) - {"site-7"}


def test_who_spoils_a_sum_first_and_poisons_the_next_gains_nothing(tmp_path):
    """In a plain session a spoiled group is tried again, and its attacker still counts."""
    plain = SecureAggregationSettings(enabled=False)
    toy, recorder = toy_federation(tmp_path, 15, plan_of(attackers=2, secure_aggregation=plain)), Recorder()
    coordinator, honest = toy.coordinator(observers=[recorder]), toy.sites[GROUPS[0][0]].handle

    def spoils_first(request):
        header = Header.parse(parse_request(request).header)
        if header.attempt > 1:
            return honest(request)
        digest = hashlib.sha256(parse_request(request).header).digest()
        return reply(contribution(digest, np.full(header.words, 2**63, np.uint64)))

    coordinator.fleet._sites[GROUPS[0][0]] = spoils_first
    for site in (*GROUPS[3][:2], *GROUPS[4][:2]):
        coordinator.fleet._sites[site] = lambda _: reply(Refusal(Reason.POLICY, "not today"))
    with pytest.raises(RunError, match="round 1 found no quorum"):
        coordinator.run()
    assert "group 1: the sum is not one" in recorder.of(AttemptLost)[0].reason

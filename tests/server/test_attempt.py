"""One attempt, and the coordinator's death in the middle of it, over a toy federation with living sites."""

import pytest

from sealora.plan.settings import RoundsSettings
from sealora.protocol.errors import AttemptFailed, RunError
from sealora.protocol.messages import Open, Reason, Refusal, reply
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server import gathering
from sealora.server.attempt import Attempt
from sealora.server.events import PhaseOpened, SiteAnswered
from sealora.simulation.toy import toy_federation, toy_plan

SITES = 6
NO_OPENING = Open(b"", b"", ())
PLAN = toy_plan(rounds=RoundsSettings(count=1), secure_aggregation=SecureAggregationSettings())


class Death(BaseException):
    """The process ends here."""


class Mortal:
    """Dies when told of a phase, or of so many answers to it."""

    def __init__(self, phase, answers=0):
        self.phase, self.left = phase, answers

    def notify(self, event):
        if isinstance(event, PhaseOpened) and event.phase == self.phase and not self.left:
            raise Death
        if isinstance(event, SiteAnswered) and event.phase == self.phase:
            self.left -= 1
            if not self.left:
                raise Death


@pytest.fixture
def kept(monkeypatch):
    """Every attempt made, and every state of a session saved."""
    attempts, states = [], []

    class Kept(Attempt):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            attempts.append(self)

    class Saving(SecureCoordinatorHalf):
        def __init__(self, header, roster, closures=(), save=None, threads=1, heads=None):
            super().__init__(header, roster, closures, states.append, threads, heads)

    monkeypatch.setattr(gathering, "Attempt", Kept)
    monkeypatch.setattr("sealora.server.sessions.SecureCoordinatorHalf", Saving)
    return attempts, states


def sums(attempt):
    return {name: values.tolist() for name, values in attempt.sums.items()}


@pytest.mark.parametrize(
    ("phase", "answers"),
    [("share", 0), ("mask", 2), ("check", 1), ("unmask", 0), ("unmask", 3), ("unmask", 6)],
)
def test_a_session_goes_on_after_the_coordinators_death(tmp_path, kept, phase, answers):
    attempts, states = kept
    toy_federation(tmp_path / "whole", SITES, PLAN).coordinator().run()
    expected = sums(attempts[0])
    states.clear()
    toy = toy_federation(tmp_path / "died", SITES, PLAN)
    with pytest.raises(Death):
        toy.coordinator(observers=[Mortal(phase, answers)]).run()
    attempt, told = attempts[-1], []
    attempt.tell = told.append
    attempt.run(SecureCoordinatorHalf.from_bytes(states[-1], toy.sessions._roster), NO_OPENING)
    assert sums(attempt) == expected
    phases = [event.phase for event in told if isinstance(event, PhaseOpened)]
    assert phases == ["share", "mask", "check", "unmask"][["share", "mask", "check", "unmask"].index(phase) :]


def test_sites_that_lost_their_half_are_not_asked_for_shares_again(tmp_path, kept):
    """They restarted; as nothing has been released, the session is closed and the round tried again."""
    attempts, _ = kept
    toy = toy_federation(tmp_path, SITES, PLAN)
    asked = []

    def forgetful(name, handle):
        def answer(request):
            if attempts and len(attempts) == 1 and "check" in attempts[0].seconds:
                asked.append(name)
                return reply(Refusal(Reason.PROTOCOL, "no attempt is open"))
            return handle(request)

        return answer

    coordinator = toy.coordinator()
    for name in ("site-1", "site-2", "site-3", "site-4", "site-5", "site-6"):
        coordinator.fleet._sites[name] = forgetful(name, toy.sites[name].handle)
    coordinator.run()
    assert sorted(asked) == sorted(toy.sites)
    assert [attempt.number for attempt in attempts][:2] == [1, 2]


def test_what_can_be_neither_opened_nor_closed_ends_the_run(tmp_path, kept, monkeypatch):
    """Shares were released, and the sum they open is none that the sites can have sent."""

    def refuse(self, total):
        raise AttemptFailed("the sum is not one that these contributors can have sent.")

    monkeypatch.setattr(Attempt, "_decode", refuse)
    with pytest.raises(RunError, match=r"round 1 cannot be masked: .* they do so once\. Start a new run"):
        toy_federation(tmp_path, SITES, PLAN).coordinator().run()
    assert len(kept[0]) == 1

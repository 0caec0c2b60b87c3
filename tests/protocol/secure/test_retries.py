"""After a failure: sessions are closed before another one on the same model, or the run waits."""

import numpy as np
import pytest

from sealora.protocol import secure_messages as wire
from sealora.protocol import secure_messages_pb2
from sealora.protocol.agreement import ABORT, RELEASE
from sealora.protocol.attempts import CLOSED, AttemptLog, Closure
from sealora.protocol.errors import AttemptFailed, AttemptPending, ProtocolError
from sealora.protocol.keys import IdentityKey, verify
from sealora.protocol.messages import Work, model_hash
from sealora.protocol.secure_answers import Release
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.secure_requests import Adverts
from sealora.protocol.secure_site import Aborted

MASK, CHECK, UNMASK = 2, 3, 4


def fail(cohort, drops, **changes):
    """A session that fails because of dropouts: the coordinator's half that is left."""
    opening = cohort.opening(**changes)
    coordinator = cohort.coordinator(opening)
    with pytest.raises(AttemptFailed):
        cohort.run(opening, coordinator, drops)
    return coordinator


def retry(cohort, failed, drops=None, **changes):
    """The next attempt on the same model, as an honest coordinator makes it."""
    attempt = failed.header.attempt + 1
    opening = cohort.opening(attempt=attempt, abandoned=failed.abandoned, **changes)
    coordinator = cohort.coordinator(opening, closures=failed.closures)
    return cohort.run(opening, coordinator, drops or {})


def assert_sum(cohort, coordinator):
    total = coordinator.result()
    assert np.array_equal(total.words, cohort.total(total.contributors))


def two_gone(cohort, phase):
    return dict.fromkeys(cohort.names[:2], phase)


@pytest.mark.parametrize("phase", [0, 1])
def test_a_failure_before_masking_leaves_nothing_to_close(make_cohort, phase):
    cohort = make_cohort(4)
    failed = fail(cohort, two_gone(cohort, phase))
    assert failed.abandoned == ()
    assert_sum(cohort, retry(cohort, failed))


@pytest.mark.parametrize("phase", [MASK, CHECK])
def test_a_failure_after_masking_is_closed_by_those_who_come_back(make_cohort, phase):
    cohort = make_cohort(4)
    failed = fail(cohort, two_gone(cohort, phase))
    assert len(failed.abandoned) == 1
    again = retry(cohort, failed)
    assert_sum(cohort, again)
    assert {closure.public for closure in again.closures} == {
        key.public for key in cohort.identities.values()
    }


def test_the_run_waits_while_too_few_have_closed_and_goes_on_when_they_return(make_cohort):
    cohort = make_cohort(5, colluders=1, n_min=4)
    failed = fail(cohort, two_gone(cohort, MASK))
    with pytest.raises(AttemptFailed):
        retry(cohort, failed, two_gone(cohort, 0))
    # The next attempt finds one of the two; four of five closures are enough.
    opening = cohort.opening(attempt=2, abandoned=failed.abandoned)
    waiting = cohort.coordinator(opening, closures=failed.closures)
    cohort.logs = {
        name: AttemptLog() if name in cohort.names[:2] else log for name, log in cohort.logs.items()
    }
    third = cohort.opening(attempt=3, abandoned=failed.abandoned)
    coordinator = cohort.coordinator(third, closures=waiting.closures)
    assert_sum(cohort, cohort.run(third, coordinator, {cohort.names[0]: 0}))


def test_sites_that_contributed_wait_although_the_cohort_has_changed(make_cohort):
    """Three of five closures are below t = 4: the sites that sent a vector abort before they share."""
    cohort = make_cohort(6, colluders=1, n_min=4)
    opening = cohort.opening(cohort=cohort.names[:5])
    coordinator = cohort.coordinator(opening)
    with pytest.raises(AttemptFailed):
        cohort.run(opening, coordinator, two_gone(cohort, MASK))
    again = cohort.opening(attempt=2, abandoned=coordinator.abandoned, cohort=cohort.names[2:])
    second = cohort.coordinator(again, closures=coordinator.closures)
    with pytest.raises(AttemptFailed, match="unclosed"):
        cohort.run(again, second)
    assert {aborted.failure for aborted in cohort.aborts.values()} == {"unclosed"}
    assert set(cohort.aborts) == set(cohort.names[2:5])


def test_closures_are_kept_over_attempts(make_cohort):
    """Each attempt finds other sites; their promises add up."""
    cohort = make_cohort(5)
    failed = fail(cohort, dict.fromkeys(cohort.names[:3], MASK))
    first = cohort.opening(attempt=2, abandoned=failed.abandoned)
    coordinator = cohort.coordinator(first)
    coordinator.receive(cohort.names[0], cohort.answer(cohort.names[0], first))
    second = cohort.opening(attempt=3, abandoned=failed.abandoned, cohort=cohort.names[1:])
    again = cohort.coordinator(second, closures=coordinator.closures)
    assert_sum(cohort, cohort.run(second, again))
    assert len(again.closures) == 5


def test_the_same_model_may_be_evaluated_and_trained_from(make_cohort):
    cohort = make_cohort(3)
    for work in (Work.EVALUATE, Work.TRAIN):
        opening = cohort.opening(work=work)
        assert_sum(cohort, cohort.run(opening, cohort.coordinator(opening)))


def test_a_model_is_contributed_to_once_in_whatever_run(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    cohort.run(opening, cohort.coordinator(opening))
    with pytest.raises(Aborted, match="still open"):
        cohort.half(cohort.names[0], cohort.opening(run=b"another run" + bytes(5)))


def test_the_next_round_names_the_transcript_of_the_last(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    first = cohort.run(opening, cohort.coordinator(opening))
    following = {"round": 2, "completed": (1, 1), "tensors": b"x", "model_hash": model_hash(b"x", ("a",))}
    with pytest.raises(Aborted, match="another history"):
        cohort.half(cohort.names[0], cohort.opening(**following))
    second = cohort.opening(**following, previous_transcript=first.transcript)
    assert_sum(cohort, cohort.run(second, cohort.coordinator(second)))


@pytest.mark.parametrize("forged", [True, False])
def test_closures_must_be_signed_by_members(make_cohort, forged):
    cohort = make_cohort(4)
    failed = fail(cohort, two_gone(cohort, MASK))
    session = failed.abandoned[0]
    keys = [IdentityKey.generate() for _ in range(4)]
    publics = [
        cohort.identities[name].public if forged else key.public
        for name, key in zip(cohort.names, keys, strict=True)
    ]
    false = [
        Closure(session, public, key.sign(CLOSED, session)) for public, key in zip(publics, keys, strict=True)
    ]
    opening = cohort.opening(attempt=2, abandoned=(session,))
    coordinator = cohort.run(opening, cohort.coordinator(opening, closures=false), until=1)
    request = wire.parse_request(coordinator.requests()["site0002"], 1 << 20)
    faked = Adverts(request.header_hash, request.members, tuple(false))
    with pytest.raises(Aborted) as stopped:
        cohort.halves["site0002"].receive(wire.request(faked))
    assert stopped.value.failure == ("forged" if forged else "unclosed")


def test_a_closed_session_is_not_opened_by_a_half_that_is_still_alive(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=4)
    cohort.logs["site0000"].close(coordinator.abandoned[0])
    abort = wire.parse_reply(cohort.answer("site0000", coordinator.requests()["site0000"]), 4096)
    assert abort.failure == "closed"
    verify(
        cohort.identities["site0000"].public,
        abort.signature,
        ABORT,
        *(abort.about, abort.failure.encode(), abort.text.encode(), abort.accused.encode()),
    )


# --- shares have begun to leave ---


def reach_release(cohort, **options):
    """A session that is about to ask for shares."""
    opening = cohort.opening()
    return cohort.run(opening, cohort.coordinator(opening, **options), until=UNMASK)


def ask(cohort, coordinator, names):
    """Put the open phase's requests to some sites, and hand over what they answer."""
    requests = coordinator.requests()
    for name in names:
        coordinator.receive(name, cohort.answer(name, requests[name]))


def test_too_few_shares_keep_the_session_open(make_cohort):
    cohort = make_cohort(6, colluders=2, n_min=5)
    coordinator = reach_release(cohort)
    asked = coordinator.requests()
    assert coordinator.incomplete
    ask(cohort, coordinator, cohort.names[:3])
    with pytest.raises(
        AttemptPending, match=r"3 sites finished .* 5 are needed\. No answer from site0003"
    ) as pending:
        coordinator.advance()
    assert "resume" in pending.value.remedy
    # Those that were not heard are asked again, in the same words, and answer.
    assert coordinator.requests() == {name: asked[name] for name in cohort.names[3:]}
    ask(cohort, coordinator, cohort.names[4:])
    assert not coordinator.incomplete
    coordinator.advance()
    assert_sum(cohort, coordinator)


def test_a_share_that_was_lost_on_the_way_is_sent_again(make_cohort):
    cohort = make_cohort(4)
    coordinator = reach_release(cohort)
    lost = {name: cohort.answer(name, request) for name, request in coordinator.requests().items()}
    with pytest.raises(AttemptPending):
        coordinator.advance()
    for name, request in coordinator.requests().items():
        again = cohort.answer(name, request)
        assert again == lost[name]
        coordinator.receive(name, again)
    coordinator.advance()
    assert_sum(cohort, coordinator)


@pytest.mark.parametrize("heard", range(4))
def test_a_restarted_coordinator_asks_again_for_shares(make_cohort, heard):
    """Whatever it had heard by then."""
    cohort = make_cohort(4)
    saved = []
    coordinator = reach_release(cohort, save=saved.append)
    asked = coordinator.requests()
    ask(cohort, coordinator, cohort.names[:heard])
    resumed = SecureCoordinatorHalf.from_bytes(saved[-1], cohort.roster, save=saved.append)
    assert resumed.incomplete
    assert resumed.requests() == asked
    ask(cohort, resumed, cohort.names)
    resumed.advance()
    assert_sum(cohort, resumed)
    assert SecureCoordinatorHalf.from_bytes(saved[-1], cohort.roster).result().contributors == cohort.names


def test_shares_are_gone_from_the_state_once_the_sum_is_open(make_cohort):
    cohort = make_cohort(4)
    saved = []
    coordinator = reach_release(cohort, save=saved.append)
    requests = coordinator.requests()
    released = [wire.parse_reply(cohort.answer(name, requests[name]), 4096) for name in cohort.names]
    for name, answer in zip(cohort.names, released, strict=True):
        coordinator.receive(name, wire.reply(answer))
    assert all(answer.shares in coordinator.to_bytes() for answer in released)
    coordinator.advance()
    assert not any(answer.shares in saved[-1] for answer in released)


def test_sites_that_lost_their_half_are_not_waited_for(make_cohort):
    """No share has been seen, and fewer than t sites can release: now the session is closed instead."""
    cohort = make_cohort(4)
    coordinator = reach_release(cohort)
    for name in cohort.names[:2]:
        coordinator.leave(name, "no attempt is open")
    assert not coordinator.incomplete
    with pytest.raises(AttemptFailed, match="site0001: no attempt is open"):
        coordinator.advance()
    assert coordinator.closable
    assert_sum(cohort, retry(cohort, coordinator))


def test_a_session_that_can_be_neither_opened_nor_closed_is_known_to_be(make_cohort):
    """Two of four released, the others lost what they held: t is three either way."""
    cohort = make_cohort(4)
    coordinator = reach_release(cohort)
    ask(cohort, coordinator, cohort.names[:2])
    assert coordinator.closable is False
    for name in cohort.names[2:]:
        coordinator.leave(name, "no attempt is open")
    with pytest.raises(AttemptFailed):
        coordinator.advance()
    with pytest.raises(AttemptFailed, match="unclosed"):
        retry(cohort, coordinator)


def test_a_wrong_share_is_outvoted_by_one_that_comes_later(make_cohort):
    cohort = make_cohort(4)
    coordinator = reach_release(cohort)
    requests = coordinator.requests()
    release = wire.parse_reply(cohort.answer("site0000", requests["site0000"]), 4096)
    lie = bytes(len(release.shares))
    signature = cohort.identities["site0000"].sign(RELEASE, release.session, lie)
    coordinator.receive("site0000", wire.reply(Release(release.session, lie, signature)))
    ask(cohort, coordinator, cohort.names[1:3])
    with pytest.raises(AttemptPending, match=r"contradict .* No answer from site0003"):
        coordinator.advance()
    ask(cohort, coordinator, cohort.names[3:])
    coordinator.advance()
    assert_sum(cohort, coordinator)


# --- the coordinator after a crash ---


@pytest.mark.parametrize("crash_after", range(1, 5))
def test_a_coordinator_resumes_the_same_session(make_cohort, crash_after):
    cohort = make_cohort(5)
    saved = []
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening, save=saved.append)
    cohort.run(opening, coordinator, {"site0000": MASK, "site0004": 1}, until=crash_after)
    assert len(saved) == crash_after
    before = coordinator.requests()
    # Half of the answers arrive and are lost in the crash.
    for name in list(before)[:2]:
        coordinator.receive(name, cohort.answer(name, before[name]))
    resumed = SecureCoordinatorHalf.from_bytes(saved[-1], cohort.roster, save=saved.append)
    assert resumed.requests() == before
    assert resumed.phase == ("train", "share", "mask", "check", "unmask")[crash_after]
    for _ in range(crash_after, 5):
        for name, request in resumed.requests().items():
            if not (name == "site0004" or (name == "site0000" and resumed.phase != "share")):
                resumed.receive(name, cohort.answer(name, request))
        resumed.advance()
    total = resumed.result()
    assert total.contributors == ("site0001", "site0002", "site0003")
    assert np.array_equal(total.words, cohort.total(total.contributors))
    again = SecureCoordinatorHalf.from_bytes(saved[-1], cohort.roster)
    assert np.array_equal(again.result().words, total.words)
    assert again.transcript == resumed.transcript


def test_the_survivors_are_saved_before_anybody_is_told(make_cohort):
    cohort = make_cohort(4)
    saved = []
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening, save=saved.append)
    cohort.run(opening, coordinator, {"site0001": MASK}, until=3)
    request = wire.parse_request(coordinator.requests()["site0000"], 1 << 20)
    resumed = SecureCoordinatorHalf.from_bytes(saved[-1], cohort.roster)
    assert request.survivors == (0, 2, 3)
    assert wire.parse_request(resumed.requests()["site0000"], 1 << 20) == request


def test_the_state_remembers_culprits_and_disputes(make_cohort):
    cohort = make_cohort(4)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    with pytest.raises(ProtocolError):
        coordinator.receive("site0003", b"nonsense")
    coordinator._state.disputes.add(("site0000", "site0001"))
    resumed = SecureCoordinatorHalf.from_bytes(coordinator.to_bytes(), cohort.roster)
    assert resumed.culprits == {"site0000", "site0001", "site0003"}


@pytest.mark.parametrize("raw", [b"nonsense", b"\x08\x7f"])
def test_a_state_that_cannot_be_read_is_refused(make_cohort, raw):
    with pytest.raises(ProtocolError, match="saved session"):
        SecureCoordinatorHalf.from_bytes(raw, make_cohort(3).roster)


@pytest.mark.parametrize("count", [1, 7, 8, 23, 25, 32])
def test_a_sum_of_another_dimension_is_refused(make_cohort, count):
    """The header says three words of eight bytes."""
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=3)
    message = secure_messages_pb2.CoordinatorState.FromString(coordinator.to_bytes())
    assert len(message.words) == 24
    message.words = bytes(count)
    with pytest.raises(ProtocolError, match="saved session's sum") as refused:
        SecureCoordinatorHalf.from_bytes(message.SerializeToString(), cohort.roster)
    assert refused.value.failure == "malformed"


# --- the site after a restart ---


def test_a_restarted_site_is_a_dropout_and_remembers(make_cohort):
    cohort = make_cohort(4)
    records = {name: [] for name in cohort.names}
    cohort.logs = {name: AttemptLog(append=kept.append) for name, kept in records.items()}
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=3)
    del cohort.halves["site0000"]
    cohort.logs["site0000"] = AttemptLog(records["site0000"], append=records["site0000"].append)
    with pytest.raises(Aborted, match="still open"):
        cohort.half("site0000", opening)
    for name in cohort.names[1:]:
        coordinator.receive(name, cohort.answer(name, coordinator.requests()[name]))
    coordinator.advance()
    for name in cohort.names[1:]:
        coordinator.receive(name, cohort.answer(name, coordinator.requests()[name]))
    coordinator.advance()
    assert_sum(cohort, coordinator)
    assert len(coordinator.result().contributors) == 4

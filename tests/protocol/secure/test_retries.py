"""After a failure: sessions are closed before another one on the same model, or the run waits."""

from dataclasses import replace

import numpy as np
import pytest

from sealora.protocol import secure_messages as wire
from sealora.protocol.agreement import ABORT, RELEASE
from sealora.protocol.attempts import CLOSED, AttemptLog, Closure
from sealora.protocol.errors import AttemptFailed, AttemptPending
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


ANOTHER_RUN = b"another run" + bytes(5)
OTHER = {"tensors": b"other", "model_hash": model_hash(b"other", ("a",))}


@pytest.mark.parametrize("work", [Work.EVALUATE, Work.TRAIN])
@pytest.mark.parametrize("changes", [{"round": 2}, {"attempt": 2, **OTHER}, {"round": 1, "attempt": 2}])
def test_a_round_or_model_is_contributed_to_once_in_whatever_work(make_cohort, work, changes):
    cohort = make_cohort(3)
    opening = cohort.opening()
    cohort.run(opening, cohort.coordinator(opening))
    with pytest.raises(Aborted, match="still open"):
        cohort.half(cohort.names[0], cohort.opening(work=work, **changes))


def test_a_run_ends_with_the_evaluation_of_a_model_that_was_not_trained_on(make_cohort):
    cohort = make_cohort(3)
    for opening in (cohort.opening(), cohort.opening(work=Work.EVALUATE, round=2, **OTHER)):
        assert_sum(cohort, cohort.run(opening, cohort.coordinator(opening)))


def test_what_failed_is_closed_before_an_evaluation_of_its_model(make_cohort):
    """As where privacy budgets end a run amid a round."""
    cohort = make_cohort(4)
    failed = fail(cohort, two_gone(cohort, MASK))
    assert_sum(cohort, retry(cohort, failed, work=Work.EVALUATE, round=2))


def test_a_plan_is_run_as_often_as_was_approved_and_then_like_the_first_time(make_cohort):
    cohort = make_cohort(3)
    first = cohort.opening()
    cohort.run(first, cohort.coordinator(first))
    again = cohort.opening(run=ANOTHER_RUN)
    with pytest.raises(Aborted, match=r"runs .* approved are used up \(1\)") as stopped:
        cohort.half(cohort.names[0], again)
    assert stopped.value.failure == "exhausted"
    cohort.floors = replace(cohort.floors, runs=2)
    assert_sum(cohort, cohort.run(again, cohort.coordinator(again)))
    # The first run goes on.
    following = cohort.opening(round=2, **OTHER)
    assert_sum(cohort, cohort.run(following, cohort.coordinator(following)))


def test_another_plan_may_begin_with_the_same_model(make_cohort):
    cohort = make_cohort(3)
    for changes in ({}, {"run": ANOTHER_RUN, "plan_hash": b"p" * 32}):
        opening = cohort.opening(**changes)
        assert_sum(cohort, cohort.run(opening, cohort.coordinator(opening)))


def test_a_run_that_never_got_to_masks_does_not_count(make_cohort):
    cohort = make_cohort(4)
    fail(cohort, two_gone(cohort, 1))
    opening = cohort.opening(run=ANOTHER_RUN)
    assert_sum(cohort, cohort.run(opening, cohort.coordinator(opening)))


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


def test_a_failure_tells_the_first_of_many_reasons(make_cohort):
    cohort = make_cohort(8)
    coordinator = reach_release(cohort)
    for number, name in enumerate(cohort.names[:7]):
        coordinator.leave(name, f"for reason {number}")
    with pytest.raises(AttemptFailed) as failed:
        coordinator.advance()
    assert "site0004: for reason 4. 2 more reasons." in failed.value.message
    assert "reason 5" not in failed.value.message


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

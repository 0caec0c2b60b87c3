"""Every byte of every message is flipped in turn: the receiver refuses it, with a failure class."""

import copy
from dataclasses import replace

import pytest

from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import ProtocolError
from sealora.protocol.secure_site import Aborted, SecureSiteHalf

SITE = "site0001"
FLIPS = (0x01, 0x80)
COMMON = {"malformed", "stale", "forged"}
REQUESTS = {
    1: COMMON | {"stranger", "duplicate", "substituted", "too_few", "out_of_order"},
    2: COMMON | {"stranger", "excluded", "too_few", "tampered", "out_of_order"},
    3: COMMON | {"resurrected", "excluded", "too_few", "out_of_order"},
    4: COMMON | {"stranger", "too_few", "out_of_order"},
}
ANSWERS = COMMON | {"low_order", "wrong_dimension", "out_of_order"}


def flipped(message):
    for place in range(len(message)):
        for flip in FLIPS:
            yield message[:place] + bytes([message[place] ^ flip]) + message[place + 1 :]


def reach(cohort, phase):
    """A session whose requests of a phase are ready."""
    opening = cohort.opening()
    return cohort.run(opening, cohort.coordinator(opening), until=phase)


@pytest.mark.parametrize("phase", range(1, 5))
def test_a_site_refuses_every_flipped_request(make_cohort, phase):
    cohort = make_cohort(3)
    request = reach(cohort, phase).requests()[SITE]
    half = cohort.halves[SITE]
    state = dict(vars(half))
    for message in flipped(request):
        vars(half).clear()
        vars(half).update(state)
        before = cohort.logs[SITE].head
        with pytest.raises(Aborted) as stopped:
            half.receive(message)
        assert stopped.value.failure in REQUESTS[phase]
        assert cohort.logs[SITE].head == before


@pytest.mark.parametrize("phase", range(5))
def test_the_coordinator_refuses_every_flipped_answer(make_cohort, phase):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    cohort.run(opening, coordinator, until=phase)
    answer = cohort.answer(SITE, coordinator.requests()[SITE] if phase else opening)
    for message in flipped(answer):
        with pytest.raises(ProtocolError) as refused:
            coordinator.receive(SITE, message)
        assert refused.value.failure in ANSWERS
    coordinator.receive(SITE, answer)


def test_a_site_refuses_every_flipped_header_and_signature(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    membership = cohort.membership(SITE)
    forgeries = [replace(opening, header=header) for header in flipped(opening.header)]
    forgeries += [replace(opening, signature=signature) for signature in flipped(opening.signature)]
    forgeries += [replace(opening, tensors=tensors) for tensors in flipped(opening.tensors)]
    for forgery in forgeries:
        with pytest.raises(Aborted) as stopped:
            SecureSiteHalf(forgery, membership, AttemptLog())
        assert stopped.value.failure in {"forged", "wrong_model"}


@pytest.mark.parametrize("phase", range(1, 5))
@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: b"", lambda raw: raw * 2_000])
def test_truncated_and_oversized_requests_are_refused(make_cohort, phase, change):
    cohort = make_cohort(3)
    request = reach(cohort, phase).requests()[SITE]
    with pytest.raises(Aborted) as stopped:
        cohort.halves[SITE].receive(change(request))
    assert stopped.value.failure == "malformed"


@pytest.mark.parametrize("phase", range(2, 5))
def test_a_replayed_request_of_an_earlier_phase_is_out_of_order(make_cohort, phase):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=1)
    earlier = coordinator.requests()[SITE]
    for _ in range(1, phase + 1):
        for name, request in coordinator.requests().items():
            coordinator.receive(name, cohort.answer(name, request))
        coordinator.advance()
    with pytest.raises(Aborted) as stopped:
        cohort.halves[SITE].receive(earlier)
    assert stopped.value.failure == "out_of_order"


@pytest.mark.parametrize("phase", range(1, 5))
def test_a_request_for_another_site_is_not_mistaken(make_cohort, phase):
    """Requests that are the same for all are; the deliveries of R2 are sealed for one site."""
    cohort = make_cohort(3)
    requests = reach(cohort, phase).requests()
    if phase == 2:
        with pytest.raises(Aborted, match="altered"):
            cohort.halves[SITE].receive(requests["site0002"])
    else:
        assert requests[SITE] == requests["site0002"]


@pytest.mark.parametrize("words", [2, 4])
def test_a_payload_of_another_dimension_is_refused(make_cohort, words):
    cohort = make_cohort(3, words=3)
    other = make_cohort(3, words=words)
    half = cohort.half(SITE, cohort.opening())
    with pytest.raises(Aborted) as stopped:
        half.start(other.payloads[SITE])
    assert stopped.value.failure == "wrong_dimension"


def test_a_payload_of_another_type_is_refused(make_cohort):
    cohort = make_cohort(3)
    with pytest.raises(Aborted) as stopped:
        cohort.half(SITE, cohort.opening()).start(cohort.payloads[SITE].astype("f8"))
    assert stopped.value.failure == "wrong_dimension"


def test_a_half_cannot_be_copied(make_cohort):
    half = make_cohort(3).half(SITE, make_cohort(3).opening())
    with pytest.raises(TypeError, match="one process"):
        copy.deepcopy(half)


def test_a_session_starts_once(make_cohort):
    cohort = make_cohort(3)
    half = cohort.half(SITE, cohort.opening())
    half.start(cohort.payloads[SITE])
    with pytest.raises(Aborted) as stopped:
        half.start(cohort.payloads[SITE])
    assert stopped.value.failure == "out_of_order"


def test_a_later_phase_before_the_start_is_out_of_order(make_cohort):
    cohort = make_cohort(3)
    request = reach(cohort, 1).requests()[SITE]
    cohort.logs[SITE] = AttemptLog()
    with pytest.raises(Aborted) as stopped:
        cohort.half(SITE, cohort.opening()).receive(request)
    assert stopped.value.failure == "out_of_order"

"""After a crash: the coordinator goes on with the session that it saved, and a site remembers its own."""

import numpy as np
import pytest

from sealora.protocol import secure_messages as wire
from sealora.protocol import secure_messages_pb2
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import ProtocolError
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.secure_site import Aborted

MASK = 2


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
    total = coordinator.result()
    assert len(total.contributors) == 4
    assert np.array_equal(total.words, cohort.total(total.contributors))

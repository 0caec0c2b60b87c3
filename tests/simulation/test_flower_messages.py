"""What travels between the driver and an actor arrives as it was sent."""

import numpy as np
import pytest

flwr = pytest.importorskip("flwr")

from flwr.app import RecordDict  # noqa: E402

from sealora.client.local_work import Assignment, Outcome  # noqa: E402
from sealora.protocol.errors import DataError, ModelError, ProtocolError, RunError, UsageError  # noqa: E402
from sealora.protocol.messages import Header, Work  # noqa: E402
from sealora.simulation import flower_messages  # noqa: E402
from sealora.simulation.flower_messages import Surroundings  # noqa: E402

HEADER = Header(
    plan_hash=bytes(32), run=bytes(16), round=2, attempt=3, work=Work.TRAIN, model_hash=bytes(32),
    cohort=("a", "b", "c", "d"), quorum=1, words=3, levels=5, colluders=1, n_min=4, roster_hash=bytes(32),
)  # fmt: skip
TENSORS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.float32([np.pi])}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("memory", [{}, TENSORS], ids=["no memory", "memory"])
def test_a_request_arrives(memory):
    surroundings = Surroundings("schema = 1", "/home")
    site, where, found = flower_messages.read(
        flower_messages.ask("site-1", surroundings, Assignment(HEADER, TENSORS, memory))
    )
    assert (site, where, found.header) == ("site-1", surroundings, HEADER)
    assert equal(found.received, TENSORS)
    assert equal(found.memory, memory)


@pytest.mark.parametrize("kept", [None, {}, TENSORS], ids=["nothing kept", "empty", "kept"])
def test_an_answer_arrives(kept):
    words = np.array([0, 2**63, 2**64 - 1], dtype=np.uint64)
    metrics = {"rows": np.array([2**62]), "loss": np.array([], dtype=np.int64)}
    outcome = Outcome(words, kept, metrics, diverged=kept is None)
    found = flower_messages.outcome_of(flower_messages.answer(outcome))
    assert found.words.dtype == np.uint64
    assert np.array_equal(found.words, words)
    assert (found.kept is None) == (kept is None) == found.diverged
    assert equal(found.kept or {}, kept or {})
    assert equal(found.metrics, outcome.metrics)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataError("bad rows.", "Mend them."), DataError),
        (ModelError("no model."), ModelError),
        (RunError("the disk is full."), RunError),
        (ProtocolError("wrong_dimension", "dimensions differ"), RunError),
        (UsageError("no use."), RunError),
    ],
)
def test_an_error_arrives_as_one_that_a_site_knows(error, kind):
    with pytest.raises(kind) as raised:
        flower_messages.outcome_of(flower_messages.failure(error))
    assert type(raised.value) is kind
    assert (raised.value.message, raised.value.remedy) == (error.message, error.remedy)


def test_records_hold_no_objects():
    record = flower_messages.ask("s", Surroundings("", ""), Assignment(HEADER, TENSORS, {}))
    assert isinstance(record, RecordDict)
    values = record.config_records[flower_messages.RECORD].values()
    assert {type(value) for value in values} == {str, bytes}

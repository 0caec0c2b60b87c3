"""What travels between this process and an actor: a site's assignment and its outcome, as Flower records.

Bytes, numbers and text only; tensors as safetensors. Both ends belong to one simulation and trust each
other, so that nothing is bounded here.
"""

import json
from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from sealora.client.local_work import Assignment, Outcome
from sealora.models.adapter import Tensors, pack, unpack
from sealora.protocol import errors
from sealora.protocol.errors import RunError, SealoraError
from sealora.protocol.messages import Header

RECORD = "sealora"


@dataclass(frozen=True)
class Surroundings:
    """What an actor makes its workshop from."""

    plan: str
    """The plan's text."""
    folder: str
    """The folder that relative paths in it start from."""


def ask(site: str, surroundings: Surroundings, assignment: Assignment) -> RecordDict:
    """A request for the work of a site."""
    record = ConfigRecord(
        {
            "site": site,
            "plan": surroundings.plan,
            "folder": surroundings.folder,
            "header": assignment.header.serialise(),
            "received": _packed(assignment.received),
            "memory": _packed(assignment.memory),
        }
    )
    return RecordDict({RECORD: record})


def read(request: RecordDict) -> tuple[str, Surroundings, Assignment]:
    """The other end of `ask`."""
    record = request.config_records[RECORD]
    assignment = Assignment(
        Header.parse(_bytes(record, "header")),
        _unpacked(_bytes(record, "received")),
        _unpacked(_bytes(record, "memory")),
    )
    return str(record["site"]), Surroundings(str(record["plan"]), str(record["folder"])), assignment


def answer(outcome: Outcome) -> RecordDict:
    """The reply to a request."""
    metrics = {name: counts.tolist() for name, counts in outcome.metrics.items()}
    record = ConfigRecord(
        {
            "words": outcome.words.astype("<u8", copy=False).tobytes(),
            "keeps": outcome.kept is not None,
            "kept": _packed(outcome.kept or {}),
            "metrics": json.dumps(metrics),
            "diverged": outcome.diverged,
        }
    )
    return RecordDict({RECORD: record})


def failure(error: SealoraError) -> RecordDict:
    """The reply where the work cannot be done."""
    kind = type(error).__name__
    return RecordDict(
        {RECORD: ConfigRecord({"error": kind, "message": error.message, "remedy": error.remedy})}
    )


def outcome_of(reply: RecordDict) -> Outcome:
    """The other end of `answer`. Raises the error that the actor met."""
    record = reply.config_records[RECORD]
    if "error" in record:
        raise _error(str(record["error"]), str(record["message"]), str(record["remedy"]))
    metrics = json.loads(str(record["metrics"]))
    return Outcome(
        np.frombuffer(_bytes(record, "words"), dtype="<u8").astype(np.uint64, copy=False),
        _unpacked(_bytes(record, "kept")) if record["keeps"] else None,
        {name: np.array(counts, dtype=np.int64) for name, counts in metrics.items()},
        bool(record["diverged"]),
    )


def _error(kind: str, message: str, remedy: str) -> SealoraError:
    """An error of the same class; a RunError where its class needs more than a message."""
    known = getattr(errors, kind, RunError)
    return (
        known(message, remedy)
        if known in (errors.DataError, errors.ModelError)
        else RunError(message, remedy)
    )


def _bytes(record: ConfigRecord, key: str) -> bytes:
    value = record[key]
    if not isinstance(value, bytes):
        raise TypeError(f"{key} is no bytes")
    return value


def _packed(tensors: Tensors) -> bytes:
    return pack(tensors) if tensors else b""


def _unpacked(raw: bytes) -> Tensors:
    return unpack(raw) if raw else {}

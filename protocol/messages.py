"""The wire messages as frozen values, with every bound checked before anything is allocated.

`parse` functions take bytes from an untrusted peer and raise ProtocolError("malformed", …) for
anything but a message of this version within its bounds.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from math import isfinite

import numpy as np
from google.protobuf.message import DecodeError, Message

from sealora.protocol import long_fields
from sealora.protocol import messages_pb2 as wire
from sealora.protocol.codec import Words
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keystream import derive_key
from sealora.protocol.long_fields import Bytes

VERSION = 1
MAX_MESSAGE_BYTES = 2**31 - 1
MAX_COHORT = 100_000
MAX_NAME_BYTES = 200
MAX_TRAINED_TENSORS = 100_000
MAX_TEXT_BYTES = 1_000
HASH_BYTES = 32
RUN_BYTES = 16
SIGNATURE_BYTES = 64
MAX_ABANDONED = 64
HEADER_HASH = wire.Contribution.HEADER_HASH_FIELD_NUMBER
WORDS = wire.Contribution.WORDS_FIELD_NUMBER
OPENING_TAG = b"\x0a"
"""With which a Request that holds an Open begins: field 1, of known length."""


class Work(IntEnum):
    """What a site is asked to do with the model it receives."""

    TRAIN = 1
    EVALUATE = 2


class Reason(IntEnum):
    """Why a site refuses."""

    FAILED = 1
    POLICY = 2
    BUDGET = 3
    PROTOCOL = 4


@dataclass(frozen=True)
class Header:
    """What an attempt of a round is about.

    `words` and `levels` are the codec layout's; `completed` is the (round, attempt) whose sum
    became the model of this header, (0, 0) at the start. `contributed` holds, for each member of the
    cohort in order, the (round, attempt) that it was last part of the sum of, (0, 0) for none: a site
    commits the memory it prepared then. Empty means none for anybody.

    A secure session also fixes: `colluders`, the sites that may conspire with the coordinator;
    `n_min`, the fewest sites whose sum is ever opened; `roster_hash`, empty in a plain session;
    `previous_transcript`, the statement of the completed attempt; the numbers that bound and hide a
    contribution (`clip`: L2 norm, `range`: largest magnitude of a coordinate, `noise`: multiplier,
    `lanes`: values in a word); and `abandoned`, earlier sessions of this round or on this model to be closed.
    """

    plan_hash: bytes
    run: bytes
    round: int
    attempt: int
    work: Work
    model_hash: bytes
    cohort: tuple[str, ...]
    quorum: int
    words: int
    levels: int
    completed: tuple[int, int] = (0, 0)
    colluders: int = 0
    n_min: int = 0
    roster_hash: bytes = b""
    previous_transcript: bytes = b""
    clip: float = 0.0
    range: float = 0.0
    noise: float = 0.0
    lanes: int = 0
    abandoned: tuple[bytes, ...] = ()
    contributed: tuple[tuple[int, int], ...] = ()

    def last_contribution(self, site: str) -> tuple[int, int]:
        """The (round, attempt) that a member of the cohort was last part of the sum of; (0, 0) for none."""
        return self.contributed[self.cohort.index(site)] if self.contributed else (0, 0)

    @property
    def secure(self) -> bool:
        """Whether the attempt is a secure session: it then names a roster."""
        return bool(self.roster_hash)

    def serialise(self) -> bytes:
        """The bytes that travel and that are hashed."""
        return wire.Header(
            version=VERSION,
            plan_hash=self.plan_hash,
            run=self.run,
            round=self.round,
            attempt=self.attempt,
            work=wire.Work.Name(self.work),
            model_hash=self.model_hash,
            cohort=self.cohort,
            quorum=self.quorum,
            words=self.words,
            levels=self.levels,
            completed_round=self.completed[0],
            completed_attempt=self.completed[1],
            colluders=self.colluders,
            n_min=self.n_min,
            roster_hash=self.roster_hash,
            previous_transcript=self.previous_transcript,
            clip=self.clip,
            range=self.range,
            noise=self.noise,
            lanes=self.lanes,
            abandoned=self.abandoned,
            contributed_rounds=[round_number for round_number, _ in self.contributed],
            contributed_attempts=[attempt for _, attempt in self.contributed],
        ).SerializeToString(deterministic=True)

    @staticmethod
    def parse(raw: bytes) -> "Header":
        """Raises ProtocolError unless the bytes are a header of this version within its bounds."""
        return _parse_header(bytes(raw))

    @staticmethod
    def _parse(raw: bytes) -> "Header":
        header = wire.Header()
        _decode(header, raw)
        _require(header.version == VERSION, f"the peer speaks version {header.version}, this is {VERSION}")
        _require(len(header.plan_hash) == HASH_BYTES, "the plan hash is not 32 bytes")
        _require(len(header.run) == RUN_BYTES, "the run id is not 16 bytes")
        _require(len(header.model_hash) == HASH_BYTES, "the model hash is not 32 bytes")
        _require(header.round >= 1 and header.attempt >= 1, "rounds and attempts count from 1")
        _require(int(header.work) in Work.__members__.values(), "unknown work")
        _require(1 <= len(header.cohort) <= MAX_COHORT, "the cohort is empty or too large")
        _require(
            all(0 < len(name.encode()) <= MAX_NAME_BYTES for name in header.cohort),
            "a site's name is too long",
        )
        _require(list(header.cohort) == sorted(set(header.cohort)), "the cohort is not sorted and unique")
        _require(1 <= header.quorum <= len(header.cohort), "the quorum exceeds the cohort")
        _require(
            len(header.contributed_rounds) in (0, len(header.cohort))
            and len(header.contributed_rounds) == len(header.contributed_attempts),
            "the contributions are not those of the cohort",
        )
        _require_secure_fields(header)
        return Header(
            plan_hash=header.plan_hash,
            run=header.run,
            round=header.round,
            attempt=header.attempt,
            work=Work(header.work),
            model_hash=header.model_hash,
            cohort=tuple(header.cohort),
            quorum=header.quorum,
            words=header.words,
            levels=header.levels,
            completed=(header.completed_round, header.completed_attempt),
            colluders=header.colluders,
            n_min=header.n_min,
            roster_hash=header.roster_hash,
            previous_transcript=header.previous_transcript,
            clip=header.clip,
            range=header.range,
            noise=header.noise,
            lanes=header.lanes,
            abandoned=tuple(header.abandoned),
            contributed=tuple(zip(header.contributed_rounds, header.contributed_attempts, strict=True)),
        )


@lru_cache(maxsize=4)
def _parse_header(raw: bytes) -> Header:
    """The same value for the same bytes: a header of thousands of names is read by many, and often."""
    return Header._parse(raw)


@dataclass(frozen=True)
class Open:
    """Opens an attempt: the header (as the bytes that are hashed), the model, and what trains.

    `signature` is the coordinator's over the header in a secure session, and empty in a plain one.
    """

    header: bytes
    tensors: bytes
    trains: tuple[str, ...]
    signature: bytes = b""


@dataclass(frozen=True)
class Refusal:
    """A site's no."""

    reason: Reason
    text: str


def model_hash(tensors: bytes, trains: Sequence[str]) -> bytes:
    """SHA-256 that names a broadcast: its safetensors bytes and the names that train."""
    return derive_key("sealora/v1/model", hashlib.sha256(tensors).digest(), *trains)


def request(body: Open | bytes) -> bytes:
    """Serialise a request: an `Open`, or a later message of the session."""
    if isinstance(body, Open):
        opening = wire.Open(
            header=body.header, tensors=body.tensors, trains=body.trains, signature=body.signature
        )
        return wire.Request(open=opening).SerializeToString(deterministic=True)
    return wire.Request(session=body).SerializeToString(deterministic=True)


def is_opening(raw: bytes) -> bool:
    """Whether a request that `request` made is an `Open`, without parsing a whole model."""
    return raw[:1] == OPENING_TAG


def parse_request(raw: bytes) -> Open | bytes:
    """Raises ProtocolError unless the bytes are a request within its bounds."""
    message = wire.Request()
    _decode(message, raw)
    if message.WhichOneof("body") == "session":
        return message.session
    _require(message.WhichOneof("body") == "open", "an empty request")
    opening = message.open
    _require(len(opening.trains) <= MAX_TRAINED_TENSORS, "too many trained tensors")
    _require(len(opening.signature) in (0, SIGNATURE_BYTES), "the header's signature is not 64 bytes")
    return Open(opening.header, opening.tensors, tuple(opening.trains), opening.signature)


def reply(body: Refusal | Bytes) -> bytes:
    """Serialise a reply: a message of the session, or a refusal."""
    if isinstance(body, Refusal):
        text = body.text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
        refusal = wire.Refusal(reason=wire.Reason.Name(body.reason), text=text)
        return wire.Reply(refusal=refusal).SerializeToString(deterministic=True)
    return b"".join(long_fields.field(wire.Reply.SESSION_FIELD_NUMBER, body))


def parse_reply(raw: bytes) -> Refusal | Bytes:
    """A refusal, or a message of the session, which may be a view of `raw`.

    Raises ProtocolError unless the bytes are a reply within its bounds.
    """
    _require(len(raw) <= MAX_MESSAGE_BYTES, "the message is too long")
    fields = long_fields.split(raw)
    if fields is not None and set(fields) == {wire.Reply.SESSION_FIELD_NUMBER}:
        return fields[wire.Reply.SESSION_FIELD_NUMBER]
    message = wire.Reply()
    _decode(message, raw)
    if message.WhichOneof("body") == "session":
        return message.session
    _require(message.WhichOneof("body") == "refusal", "an empty reply")
    refusal = message.refusal
    _require(int(refusal.reason) in Reason.__members__.values(), "unknown reason")
    _require(len(refusal.text.encode()) <= MAX_TEXT_BYTES, "a refusal's text is too long")
    return Refusal(Reason(refusal.reason), refusal.text)


def contribution(header_hash: bytes, words: Words) -> bytes:
    """Serialise a plain contribution."""
    vector = words.astype("<u8", copy=False).data
    return b"".join((*long_fields.field(HEADER_HASH, header_hash), *long_fields.field(WORDS, vector)))


def parse_contribution(raw: Bytes, header_hash: bytes, count: int) -> Words:
    """Raises ProtocolError unless the bytes are a contribution of `count` words to that header."""
    _require(len(raw) <= 8 * count + 64, "the contribution is too long")
    received, words = _contribution_fields(raw)
    _require(len(words) == 8 * count, "the contribution has the wrong dimension")
    if received != header_hash:
        raise ProtocolError("stale", "the contribution belongs to another attempt")
    return np.frombuffer(words, dtype="<u8")


def _contribution_fields(raw: Bytes) -> tuple[Bytes, Bytes]:
    fields = long_fields.split(raw)
    if fields is not None and set(fields) == {HEADER_HASH, WORDS}:
        return fields[HEADER_HASH], fields[WORDS]
    message = wire.Contribution()
    _decode(message, raw)
    return message.header_hash, message.words


def _require_secure_fields(header: wire.Header) -> None:
    _require(max(header.colluders, header.n_min) <= len(header.cohort), "the thresholds exceed the cohort")
    _require(len(header.roster_hash) in (0, HASH_BYTES), "the roster hash is not 32 bytes")
    _require(len(header.previous_transcript) in (0, HASH_BYTES), "the previous transcript is not 32 bytes")
    numbers = (header.clip, header.range, header.noise)
    _require(all(isfinite(number) and number >= 0 for number in numbers), "clip, range or noise is no size")
    _require(len(header.abandoned) <= MAX_ABANDONED, "too many abandoned sessions")
    _require(len(set(header.abandoned)) == len(header.abandoned), "a session is abandoned twice")
    _require(all(len(name) == HASH_BYTES for name in header.abandoned), "a session's name is not 32 bytes")


def _decode(message: Message, raw: Bytes) -> None:
    _require(len(raw) <= MAX_MESSAGE_BYTES, "the message is too long")
    try:
        message.ParseFromString(bytes(raw))
    except DecodeError:
        raise ProtocolError("malformed", "the bytes are not a message of this protocol") from None


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ProtocolError("malformed", otherwise)

from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Work(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORK_UNSPECIFIED: _ClassVar[Work]
    WORK_TRAIN: _ClassVar[Work]
    WORK_EVALUATE: _ClassVar[Work]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_FAILED: _ClassVar[Reason]
    REASON_POLICY: _ClassVar[Reason]
    REASON_BUDGET: _ClassVar[Reason]
    REASON_PROTOCOL: _ClassVar[Reason]
WORK_UNSPECIFIED: Work
WORK_TRAIN: Work
WORK_EVALUATE: Work
REASON_UNSPECIFIED: Reason
REASON_FAILED: Reason
REASON_POLICY: Reason
REASON_BUDGET: Reason
REASON_PROTOCOL: Reason

class Header(_message.Message):
    __slots__ = ("version", "plan_hash", "run", "round", "attempt", "work", "model_hash", "cohort", "quorum", "words", "levels", "completed_round", "completed_attempt", "colluders", "n_min", "roster_hash", "previous_transcript", "clip", "range", "noise", "lanes", "abandoned", "contributed_rounds", "contributed_attempts")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PLAN_HASH_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    COHORT_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_ROUND_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    N_MIN_FIELD_NUMBER: _ClassVar[int]
    ROSTER_HASH_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    ABANDONED_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTED_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTED_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    version: int
    plan_hash: bytes
    run: bytes
    round: int
    attempt: int
    work: Work
    model_hash: bytes
    cohort: _containers.RepeatedScalarFieldContainer[str]
    quorum: int
    words: int
    levels: int
    completed_round: int
    completed_attempt: int
    colluders: int
    n_min: int
    roster_hash: bytes
    previous_transcript: bytes
    clip: float
    range: float
    noise: float
    lanes: int
    abandoned: _containers.RepeatedScalarFieldContainer[bytes]
    contributed_rounds: _containers.RepeatedScalarFieldContainer[int]
    contributed_attempts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, version: _Optional[int] = ..., plan_hash: _Optional[bytes] = ..., run: _Optional[bytes] = ..., round: _Optional[int] = ..., attempt: _Optional[int] = ..., work: _Optional[_Union[Work, str]] = ..., model_hash: _Optional[bytes] = ..., cohort: _Optional[_Iterable[str]] = ..., quorum: _Optional[int] = ..., words: _Optional[int] = ..., levels: _Optional[int] = ..., completed_round: _Optional[int] = ..., completed_attempt: _Optional[int] = ..., colluders: _Optional[int] = ..., n_min: _Optional[int] = ..., roster_hash: _Optional[bytes] = ..., previous_transcript: _Optional[bytes] = ..., clip: _Optional[float] = ..., range: _Optional[float] = ..., noise: _Optional[float] = ..., lanes: _Optional[int] = ..., abandoned: _Optional[_Iterable[bytes]] = ..., contributed_rounds: _Optional[_Iterable[int]] = ..., contributed_attempts: _Optional[_Iterable[int]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("header", "tensors", "trains", "signature")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    TRAINS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    tensors: bytes
    trains: _containers.RepeatedScalarFieldContainer[str]
    signature: bytes
    def __init__(self, header: _Optional[bytes] = ..., tensors: _Optional[bytes] = ..., trains: _Optional[_Iterable[str]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ("open", "session")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    open: Open
    session: bytes
    def __init__(self, open: _Optional[_Union[Open, _Mapping]] = ..., session: _Optional[bytes] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "text")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    reason: Reason
    text: str
    def __init__(self, reason: _Optional[_Union[Reason, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("session", "refusal")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    refusal: Refusal
    def __init__(self, session: _Optional[bytes] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("header_hash", "words")
    HEADER_HASH_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    header_hash: bytes
    words: bytes
    def __init__(self, header_hash: _Optional[bytes] = ..., words: _Optional[bytes] = ...) -> None: ...

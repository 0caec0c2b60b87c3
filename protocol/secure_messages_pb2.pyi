from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SecureRequest(_message.Message):
    __slots__ = ("adverts", "deliveries", "survivors", "signers")
    ADVERTS_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    adverts: Adverts
    deliveries: Deliveries
    survivors: Survivors
    signers: Signers
    def __init__(self, adverts: _Optional[_Union[Adverts, _Mapping]] = ..., deliveries: _Optional[_Union[Deliveries, _Mapping]] = ..., survivors: _Optional[_Union[Survivors, _Mapping]] = ..., signers: _Optional[_Union[Signers, _Mapping]] = ...) -> None: ...

class SecureReply(_message.Message):
    __slots__ = ("advert", "shares", "masked", "consistency", "release", "abort")
    ADVERT_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    advert: Advert
    shares: Shares
    masked: Masked
    consistency: Consistency
    release: Release
    abort: Abort
    def __init__(self, advert: _Optional[_Union[Advert, _Mapping]] = ..., shares: _Optional[_Union[Shares, _Mapping]] = ..., masked: _Optional[_Union[Masked, _Mapping]] = ..., consistency: _Optional[_Union[Consistency, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ...) -> None: ...

class Advert(_message.Message):
    __slots__ = ("header_hash", "share_key", "mask_key", "signature", "closures")
    HEADER_HASH_FIELD_NUMBER: _ClassVar[int]
    SHARE_KEY_FIELD_NUMBER: _ClassVar[int]
    MASK_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CLOSURES_FIELD_NUMBER: _ClassVar[int]
    header_hash: bytes
    share_key: bytes
    mask_key: bytes
    signature: bytes
    closures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, header_hash: _Optional[bytes] = ..., share_key: _Optional[bytes] = ..., mask_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., closures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("site", "share_key", "mask_key", "signature")
    SITE_FIELD_NUMBER: _ClassVar[int]
    SHARE_KEY_FIELD_NUMBER: _ClassVar[int]
    MASK_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    site: str
    share_key: bytes
    mask_key: bytes
    signature: bytes
    def __init__(self, site: _Optional[str] = ..., share_key: _Optional[bytes] = ..., mask_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Closure(_message.Message):
    __slots__ = ("session", "public_key", "signature")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    public_key: bytes
    signature: bytes
    def __init__(self, session: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Adverts(_message.Message):
    __slots__ = ("header_hash", "members", "closures")
    HEADER_HASH_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CLOSURES_FIELD_NUMBER: _ClassVar[int]
    header_hash: bytes
    members: _containers.RepeatedCompositeFieldContainer[Member]
    closures: _containers.RepeatedCompositeFieldContainer[Closure]
    def __init__(self, header_hash: _Optional[bytes] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., closures: _Optional[_Iterable[_Union[Closure, _Mapping]]] = ...) -> None: ...

class Shares(_message.Message):
    __slots__ = ("session", "commitment", "sealed", "signature")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    commitment: bytes
    sealed: bytes
    signature: bytes
    def __init__(self, session: _Optional[bytes] = ..., commitment: _Optional[bytes] = ..., sealed: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Deliveries(_message.Message):
    __slots__ = ("session", "sharers", "sealed")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SHARERS_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    sharers: _containers.RepeatedScalarFieldContainer[int]
    sealed: bytes
    def __init__(self, session: _Optional[bytes] = ..., sharers: _Optional[_Iterable[int]] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("digest", "head_count", "head", "signature", "ledger_count", "ledger")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    HEAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    LEDGER_COUNT_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    head_count: int
    head: bytes
    signature: bytes
    ledger_count: int
    ledger: bytes
    def __init__(self, digest: _Optional[bytes] = ..., head_count: _Optional[int] = ..., head: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., ledger_count: _Optional[int] = ..., ledger: _Optional[bytes] = ...) -> None: ...

class Masked(_message.Message):
    __slots__ = ("session", "words", "receipt")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    words: bytes
    receipt: Receipt
    def __init__(self, session: _Optional[bytes] = ..., words: _Optional[bytes] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ...) -> None: ...

class Survivors(_message.Message):
    __slots__ = ("session", "survivors", "receipts")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    survivors: _containers.RepeatedScalarFieldContainer[int]
    receipts: _containers.RepeatedCompositeFieldContainer[Receipt]
    def __init__(self, session: _Optional[bytes] = ..., survivors: _Optional[_Iterable[int]] = ..., receipts: _Optional[_Iterable[_Union[Receipt, _Mapping]]] = ...) -> None: ...

class Consistency(_message.Message):
    __slots__ = ("session", "signature")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    signature: bytes
    def __init__(self, session: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Signers(_message.Message):
    __slots__ = ("session", "signers", "signatures")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SIGNERS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    signers: _containers.RepeatedScalarFieldContainer[int]
    signatures: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, session: _Optional[bytes] = ..., signers: _Optional[_Iterable[int]] = ..., signatures: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("session", "shares", "signature")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    shares: bytes
    signature: bytes
    def __init__(self, session: _Optional[bytes] = ..., shares: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("about", "failure", "text", "accused", "signature")
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    about: bytes
    failure: str
    text: str
    accused: str
    signature: bytes
    def __init__(self, about: _Optional[bytes] = ..., failure: _Optional[str] = ..., text: _Optional[str] = ..., accused: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class CoordinatorState(_message.Message):
    __slots__ = ("phase", "header", "closures", "members", "shares", "receipts", "words", "statements", "releases", "disputes", "culprits", "finished")
    class SharesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: Shares
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[Shares, _Mapping]] = ...) -> None: ...
    class ReceiptsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: Receipt
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[Receipt, _Mapping]] = ...) -> None: ...
    class StatementsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: bytes
        def __init__(self, key: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...
    class ReleasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: bytes
        def __init__(self, key: _Optional[int] = ..., value: _Optional[bytes] = ...) -> None: ...
    PHASE_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CLOSURES_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    RECEIPTS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    DISPUTES_FIELD_NUMBER: _ClassVar[int]
    CULPRITS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    phase: int
    header: bytes
    closures: _containers.RepeatedCompositeFieldContainer[Closure]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    shares: _containers.MessageMap[int, Shares]
    receipts: _containers.MessageMap[int, Receipt]
    words: bytes
    statements: _containers.ScalarMap[int, bytes]
    releases: _containers.ScalarMap[int, bytes]
    disputes: _containers.RepeatedCompositeFieldContainer[Dispute]
    culprits: _containers.RepeatedScalarFieldContainer[str]
    finished: bool
    def __init__(self, phase: _Optional[int] = ..., header: _Optional[bytes] = ..., closures: _Optional[_Iterable[_Union[Closure, _Mapping]]] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., shares: _Optional[_Mapping[int, Shares]] = ..., receipts: _Optional[_Mapping[int, Receipt]] = ..., words: _Optional[bytes] = ..., statements: _Optional[_Mapping[int, bytes]] = ..., releases: _Optional[_Mapping[int, bytes]] = ..., disputes: _Optional[_Iterable[_Union[Dispute, _Mapping]]] = ..., culprits: _Optional[_Iterable[str]] = ..., finished: bool = ...) -> None: ...

class Dispute(_message.Message):
    __slots__ = ("one", "other")
    ONE_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    one: str
    other: str
    def __init__(self, one: _Optional[str] = ..., other: _Optional[str] = ...) -> None: ...

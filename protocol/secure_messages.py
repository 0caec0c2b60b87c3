"""The messages of a secure session as frozen values; bounds are checked before anything is allocated.

`parse_request` and `parse_reply` take bytes from an untrusted peer, with the most bytes that the
open phase allows, and raise ProtocolError("malformed", …) for anything else. They check the length
of every field and that positions are strictly ascending; who may be meant is the sessions' affair.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from sealora.protocol import long_fields
from sealora.protocol import secure_messages_pb2 as wire
from sealora.protocol.attempts import NO_RECORDS, Closure, Head
from sealora.protocol.codec import Words
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, TAG_BYTES
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import HASH_BYTES, MAX_ABANDONED, MAX_COHORT, MAX_NAME_BYTES, MAX_TEXT_BYTES
from sealora.protocol.shamir import SHARE_BYTES

SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
"""A sealed pair of shares: of the self-mask seed and of the mask key's scalar."""
MAX_FAILURE_BYTES = 40
OVERHEAD_BYTES = 4096
"""Room for the fields of a message that do not grow with the session."""
PER_SITE_BYTES = MAX_NAME_BYTES + 512
"""Most bytes that one site adds to any request."""
MASKED_FIELDS = {
    wire.Masked.SESSION_FIELD_NUMBER,
    wire.Masked.WORDS_FIELD_NUMBER,
    wire.Masked.RECEIPT_FIELD_NUMBER,
}


@dataclass(frozen=True)
class Advert:
    """R0: a site's keys of one attempt, and its promises never to open those that the header abandons."""

    header_hash: bytes
    share_key: bytes
    mask_key: bytes
    signature: bytes
    closures: tuple[bytes, ...] = ()

    def to_wire(self) -> wire.Advert:
        """The protobuf message."""
        return wire.Advert(**_fields(self))

    @staticmethod
    def from_wire(message: wire.Advert) -> "Advert":
        """Raises ProtocolError outside the bounds."""
        _require_length(message.share_key, KEY_BYTES)
        _require_length(message.mask_key, KEY_BYTES)
        _require_length(message.signature, SIGNATURE_BYTES)
        _require(len(message.closures) <= MAX_ABANDONED)
        _require(all(len(closure) in (0, SIGNATURE_BYTES) for closure in message.closures))
        return Advert(
            _hash(message.header_hash),
            message.share_key,
            message.mask_key,
            message.signature,
            tuple(message.closures),
        )


@dataclass(frozen=True)
class Member:
    """A site of U1, with the advert by which it entered."""

    site: str
    share_key: bytes
    mask_key: bytes
    signature: bytes

    def to_wire(self) -> wire.Member:
        """The protobuf message."""
        return wire.Member(**_fields(self))

    @staticmethod
    def from_wire(message: wire.Member) -> "Member":
        """Raises ProtocolError outside the bounds."""
        _require(0 < len(message.site.encode()) <= MAX_NAME_BYTES)
        _require_length(message.share_key, KEY_BYTES)
        _require_length(message.mask_key, KEY_BYTES)
        _require_length(message.signature, SIGNATURE_BYTES)
        return Member(message.site, message.share_key, message.mask_key, message.signature)


@dataclass(frozen=True)
class Adverts:
    """R1 request: U1, sorted by site, and the closures of abandoned sessions."""

    header_hash: bytes
    members: tuple[Member, ...]
    closures: tuple[Closure, ...] = ()

    def to_wire(self) -> wire.SecureRequest:
        """The protobuf message."""
        members = [member.to_wire() for member in self.members]
        closures = [closure_to_wire(closure) for closure in self.closures]
        return wire.SecureRequest(
            adverts=wire.Adverts(header_hash=self.header_hash, members=members, closures=closures)
        )

    @staticmethod
    def from_wire(message: wire.Adverts) -> "Adverts":
        """Raises ProtocolError outside the bounds."""
        _require(len(message.members) <= MAX_COHORT)
        members = tuple(Member.from_wire(member) for member in message.members)
        closures = tuple(closure_from_wire(closure) for closure in message.closures)
        return Adverts(_hash(message.header_hash), members, closures)


@dataclass(frozen=True)
class Shares:
    """R1: the commitment to the self-mask seed, and the sealed shares for each other holder in turn."""

    session: bytes
    commitment: bytes
    sealed: bytes
    signature: bytes

    def to_wire(self) -> wire.Shares:
        """The protobuf message."""
        return wire.Shares(**_fields(self))

    @staticmethod
    def from_wire(message: wire.Shares) -> "Shares":
        """Raises ProtocolError outside the bounds."""
        _require_length(message.signature, SIGNATURE_BYTES)
        _require(len(message.sealed) % SEALED_BYTES == 0)
        return Shares(_hash(message.session), _hash(message.commitment), message.sealed, message.signature)


@dataclass(frozen=True)
class Deliveries:
    """R2 request: U2, and the sealed shares of its members for the recipient, in their order."""

    session: bytes
    sharers: tuple[int, ...]
    sealed: bytes

    def to_wire(self) -> wire.SecureRequest:
        """The protobuf message."""
        return wire.SecureRequest(deliveries=wire.Deliveries(**_fields(self)))

    @staticmethod
    def from_wire(message: wire.Deliveries) -> "Deliveries":
        """Raises ProtocolError outside the bounds."""
        _require(len(message.sealed) % SEALED_BYTES == 0)
        return Deliveries(_hash(message.session), _positions(message.sharers), message.sealed)


@dataclass(frozen=True)
class Receipt:
    """What a site signs of its masked vector: the words' SHA-256, and the heads of its log and ledger."""

    digest: bytes
    head: Head
    signature: bytes
    ledger: Head = NO_RECORDS

    def to_wire(self) -> wire.Receipt:
        """The protobuf message."""
        return wire.Receipt(
            digest=self.digest,
            head_count=self.head.count,
            head=self.head.digest,
            signature=self.signature,
            ledger_count=self.ledger.count,
            ledger=self.ledger.digest,
        )

    @staticmethod
    def from_wire(message: wire.Receipt) -> "Receipt":
        """Raises ProtocolError outside the bounds."""
        _require_length(message.signature, SIGNATURE_BYTES)
        head = Head(message.head_count, _hash(message.head))
        ledger = Head(message.ledger_count, _hash(message.ledger))
        return Receipt(_hash(message.digest), head, message.signature, ledger)


@dataclass(frozen=True)
class Masked:
    """R2: the masked vector, uint64 of shape (dimension,), and what was signed of it."""

    session: bytes
    words: Words
    receipt: Receipt

    def reply(self) -> bytes:
        """The serialised reply."""
        content = (
            *long_fields.field(wire.Masked.SESSION_FIELD_NUMBER, self.session),
            *long_fields.field(wire.Masked.WORDS_FIELD_NUMBER, self.words.astype("<u8", copy=False).data),
            *long_fields.field(wire.Masked.RECEIPT_FIELD_NUMBER, _serialise(self.receipt.to_wire())),
        )
        return b"".join(long_fields.field(wire.SecureReply.MASKED_FIELD_NUMBER, *content))

    @staticmethod
    def read(raw: Bytes) -> "Masked | None":
        """A reply whose words are read where they stand; None if it is not one in the usual encoding.

        Raises ProtocolError outside the bounds.
        """
        outer = long_fields.split(raw)
        if outer is None or set(outer) != {wire.SecureReply.MASKED_FIELD_NUMBER}:
            return None
        inner = long_fields.split(outer[wire.SecureReply.MASKED_FIELD_NUMBER])
        if inner is None or set(inner) != MASKED_FIELDS:
            return None
        session, words, signed = (inner[number] for number in sorted(MASKED_FIELDS))
        receipt = wire.Receipt()
        _parse(receipt, signed)
        return Masked._checked(bytes(session), words, receipt)

    @staticmethod
    def from_wire(message: wire.Masked) -> "Masked":
        """Raises ProtocolError outside the bounds."""
        return Masked._checked(message.session, message.words, message.receipt)

    @staticmethod
    def _checked(session: bytes, words: Bytes, receipt: wire.Receipt) -> "Masked":
        _require(len(words) % 8 == 0)
        return Masked(_hash(session), np.frombuffer(words, dtype="<u8"), Receipt.from_wire(receipt))


@dataclass(frozen=True)
class Survivors:
    """R3 request: U3 and the receipt of each member."""

    session: bytes
    survivors: tuple[int, ...]
    receipts: tuple[Receipt, ...]

    def to_wire(self) -> wire.SecureRequest:
        """The protobuf message."""
        receipts = [receipt.to_wire() for receipt in self.receipts]
        return wire.SecureRequest(
            survivors=wire.Survivors(session=self.session, survivors=self.survivors, receipts=receipts)
        )

    @staticmethod
    def from_wire(message: wire.Survivors) -> "Survivors":
        """Raises ProtocolError outside the bounds."""
        _require(len(message.receipts) == len(message.survivors))
        receipts = tuple(Receipt.from_wire(receipt) for receipt in message.receipts)
        return Survivors(_hash(message.session), _positions(message.survivors), receipts)


@dataclass(frozen=True)
class Consistency:
    """R3: a member's signature on the statement."""

    session: bytes
    signature: bytes

    def to_wire(self) -> wire.Consistency:
        """The protobuf message."""
        return wire.Consistency(**_fields(self))

    @staticmethod
    def from_wire(message: wire.Consistency) -> "Consistency":
        """Raises ProtocolError outside the bounds."""
        _require_length(message.signature, SIGNATURE_BYTES)
        return Consistency(_hash(message.session), message.signature)


@dataclass(frozen=True)
class Signers:
    """R4 request: the members of U3 that signed the statement, with their signatures."""

    session: bytes
    signers: tuple[int, ...]
    signatures: tuple[bytes, ...]

    def to_wire(self) -> wire.SecureRequest:
        """The protobuf message."""
        return wire.SecureRequest(signers=wire.Signers(**_fields(self)))

    @staticmethod
    def from_wire(message: wire.Signers) -> "Signers":
        """Raises ProtocolError outside the bounds."""
        _require(len(message.signatures) == len(message.signers))
        for signature in message.signatures:
            _require_length(signature, SIGNATURE_BYTES)
        return Signers(_hash(message.session), _positions(message.signers), tuple(message.signatures))


@dataclass(frozen=True)
class Release:
    """R4: one share for each member of U2 whose shares the site holds, in their order."""

    session: bytes
    shares: bytes
    signature: bytes

    def to_wire(self) -> wire.Release:
        """The protobuf message."""
        return wire.Release(**_fields(self))

    @staticmethod
    def from_wire(message: wire.Release) -> "Release":
        """Raises ProtocolError outside the bounds."""
        _require_length(message.signature, SIGNATURE_BYTES)
        _require(len(message.shares) % SHARE_BYTES == 0)
        return Release(_hash(message.session), message.shares, message.signature)

    def __repr__(self) -> str:
        return "Release(…)"


@dataclass(frozen=True)
class Abort:
    """Instead of a reply: why a site left. `accused` names the site at fault, if it is one."""

    about: bytes
    failure: str
    text: str
    accused: str
    signature: bytes

    def to_wire(self) -> wire.Abort:
        """The protobuf message."""
        return wire.Abort(**_fields(self))

    @staticmethod
    def from_wire(message: wire.Abort) -> "Abort":
        """Raises ProtocolError outside the bounds."""
        _require_length(message.signature, SIGNATURE_BYTES)
        _require(len(message.failure.encode()) <= MAX_FAILURE_BYTES)
        _require(len(message.text.encode()) <= MAX_TEXT_BYTES)
        _require(len(message.accused.encode()) <= MAX_NAME_BYTES)
        return Abort(_hash(message.about), message.failure, message.text, message.accused, message.signature)


Request = Adverts | Deliveries | Survivors | Signers
Answer = Advert | Shares | Masked | Consistency | Release | Abort


def request(body: Request) -> bytes:
    """Serialise a request of a secure session."""
    return _serialise(body.to_wire())


def reply(body: Answer) -> bytes:
    """Serialise a reply of a secure session."""
    match body:
        case Advert():
            message = wire.SecureReply(advert=body.to_wire())
        case Shares():
            message = wire.SecureReply(shares=body.to_wire())
        case Masked():
            return body.reply()
        case Consistency():
            message = wire.SecureReply(consistency=body.to_wire())
        case Release():
            message = wire.SecureReply(release=body.to_wire())
        case Abort():
            message = wire.SecureReply(abort=body.to_wire())
    return _serialise(message)


def parse_request(raw: Bytes, limit: int) -> Request:
    """Raises ProtocolError unless the bytes, at most `limit` of them, are a request."""
    message = wire.SecureRequest()
    _require_limit(raw, limit)
    _parse(message, raw)
    match message.WhichOneof("body"):
        case "adverts":
            return Adverts.from_wire(message.adverts)
        case "deliveries":
            return Deliveries.from_wire(message.deliveries)
        case "survivors":
            return Survivors.from_wire(message.survivors)
        case "signers":
            return Signers.from_wire(message.signers)
    raise ProtocolError("malformed", "an empty request of a secure session")


def parse_reply(raw: Bytes, limit: int) -> Answer:
    """Raises ProtocolError unless the bytes, at most `limit` of them, are a reply."""
    _require_limit(raw, limit)
    return Masked.read(raw) or _parse_reply(raw)


def _parse_reply(raw: Bytes) -> Answer:
    message = wire.SecureReply()
    _parse(message, raw)
    match message.WhichOneof("body"):
        case "advert":
            return Advert.from_wire(message.advert)
        case "shares":
            return Shares.from_wire(message.shares)
        case "masked":
            return Masked.from_wire(message.masked)
        case "consistency":
            return Consistency.from_wire(message.consistency)
        case "release":
            return Release.from_wire(message.release)
        case "abort":
            return Abort.from_wire(message.abort)
    raise ProtocolError("malformed", "an empty reply of a secure session")


def closure_to_wire(closure: Closure) -> wire.Closure:
    """The protobuf message of a closure."""
    return wire.Closure(session=closure.session, public_key=closure.public, signature=closure.signature)


def closure_from_wire(message: wire.Closure) -> Closure:
    """Raises ProtocolError outside the bounds."""
    _require_length(message.public_key, KEY_BYTES)
    _require_length(message.signature, SIGNATURE_BYTES)
    return Closure(_hash(message.session), message.public_key, message.signature)


def encode_positions(positions: Sequence[int]) -> bytes:
    """A set of positions as it is signed: 4 big-endian bytes each, ascending."""
    return struct.pack(f">{len(positions)}I", *positions)


def _fields(body: "Member | Answer | Request") -> dict[str, Any]:
    """The fields of a value, which the protobuf message calls by the same names."""
    return {field.name: getattr(body, field.name) for field in fields(body)}


def _positions(raw: Sequence[int]) -> tuple[int, ...]:
    _require(len(raw) <= MAX_COHORT)
    _require(all(one < other for one, other in pairwise(raw)))
    return tuple(raw)


def _require_limit(raw: Bytes, limit: int) -> None:
    if len(raw) > limit:
        raise ProtocolError("malformed", f"a message of {len(raw)} bytes exceeds the {limit} of this phase")


def _serialise(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _parse(message: Message, raw: Bytes) -> None:
    try:
        message.ParseFromString(bytes(raw))
    except DecodeError:
        raise ProtocolError("malformed", "the bytes are not a message of a secure session") from None


def _hash(value: bytes) -> bytes:
    _require_length(value, HASH_BYTES)
    return value


def _require_length(value: bytes, length: int) -> None:
    _require(len(value) == length)


def _require(condition: bool) -> None:
    if not condition:
        raise ProtocolError("malformed", "a field of a secure session's message is out of its bounds")

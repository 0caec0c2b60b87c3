"""What a site answers in a secure session, as frozen values that are checked when they are read."""

from dataclasses import dataclass

import numpy as np

from sealora.protocol import long_fields
from sealora.protocol import secure_messages_pb2 as wire
from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Words
from sealora.protocol.keys import KEY_BYTES, SIGNATURE_BYTES
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import MAX_ABANDONED, MAX_NAME_BYTES, MAX_TEXT_BYTES
from sealora.protocol.secure_fields import (
    SEALED_BYTES,
    fields_of,
    parse,
    require,
    require_hash,
    require_length,
    serialise,
)
from sealora.protocol.shamir import SHARE_BYTES

MAX_FAILURE_BYTES = 40
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
        return wire.Advert(**fields_of(self))

    @staticmethod
    def from_wire(message: wire.Advert) -> "Advert":
        """Raises ProtocolError outside the bounds."""
        require_length(message.share_key, KEY_BYTES)
        require_length(message.mask_key, KEY_BYTES)
        require_length(message.signature, SIGNATURE_BYTES)
        require(len(message.closures) <= MAX_ABANDONED)
        require(all(len(closure) in (0, SIGNATURE_BYTES) for closure in message.closures))
        return Advert(
            require_hash(message.header_hash),
            message.share_key,
            message.mask_key,
            message.signature,
            tuple(message.closures),
        )


@dataclass(frozen=True)
class Shares:
    """R1: the commitment to the self-mask seed, and the sealed shares for each other holder in turn."""

    session: bytes
    commitment: bytes
    sealed: bytes
    signature: bytes

    def to_wire(self) -> wire.Shares:
        """The protobuf message."""
        return wire.Shares(**fields_of(self))

    @staticmethod
    def from_wire(message: wire.Shares) -> "Shares":
        """Raises ProtocolError outside the bounds."""
        require_length(message.signature, SIGNATURE_BYTES)
        require(len(message.sealed) % SEALED_BYTES == 0)
        return Shares(
            require_hash(message.session), require_hash(message.commitment), message.sealed, message.signature
        )


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
        require_length(message.signature, SIGNATURE_BYTES)
        head = Head(message.head_count, require_hash(message.head))
        ledger = Head(message.ledger_count, require_hash(message.ledger))
        return Receipt(require_hash(message.digest), head, message.signature, ledger)


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
            *long_fields.field(wire.Masked.RECEIPT_FIELD_NUMBER, serialise(self.receipt.to_wire())),
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
        parse(receipt, signed)
        return Masked._checked(bytes(session), words, receipt)

    @staticmethod
    def from_wire(message: wire.Masked) -> "Masked":
        """Raises ProtocolError outside the bounds."""
        return Masked._checked(message.session, message.words, message.receipt)

    @staticmethod
    def _checked(session: bytes, words: Bytes, receipt: wire.Receipt) -> "Masked":
        require(len(words) % 8 == 0)
        return Masked(require_hash(session), np.frombuffer(words, dtype="<u8"), Receipt.from_wire(receipt))


@dataclass(frozen=True)
class Consistency:
    """R3: a member's signature on the statement."""

    session: bytes
    signature: bytes

    def to_wire(self) -> wire.Consistency:
        """The protobuf message."""
        return wire.Consistency(**fields_of(self))

    @staticmethod
    def from_wire(message: wire.Consistency) -> "Consistency":
        """Raises ProtocolError outside the bounds."""
        require_length(message.signature, SIGNATURE_BYTES)
        return Consistency(require_hash(message.session), message.signature)


@dataclass(frozen=True)
class Release:
    """R4: one share for each member of U2 whose shares the site holds, in their order."""

    session: bytes
    shares: bytes
    signature: bytes

    def to_wire(self) -> wire.Release:
        """The protobuf message."""
        return wire.Release(**fields_of(self))

    @staticmethod
    def from_wire(message: wire.Release) -> "Release":
        """Raises ProtocolError outside the bounds."""
        require_length(message.signature, SIGNATURE_BYTES)
        require(len(message.shares) % SHARE_BYTES == 0)
        return Release(require_hash(message.session), message.shares, message.signature)

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
        return wire.Abort(**fields_of(self))

    @staticmethod
    def from_wire(message: wire.Abort) -> "Abort":
        """Raises ProtocolError outside the bounds."""
        require_length(message.signature, SIGNATURE_BYTES)
        require(len(message.failure.encode()) <= MAX_FAILURE_BYTES)
        require(len(message.text.encode()) <= MAX_TEXT_BYTES)
        require(len(message.accused.encode()) <= MAX_NAME_BYTES)
        return Abort(
            require_hash(message.about), message.failure, message.text, message.accused, message.signature
        )


Answer = Advert | Shares | Masked | Consistency | Release | Abort

"""What the coordinator asks in a secure session, as frozen values that are checked when they are read."""

from dataclasses import dataclass

from sealora.protocol import secure_messages_pb2 as wire
from sealora.protocol.attempts import Closure
from sealora.protocol.keys import KEY_BYTES, SIGNATURE_BYTES
from sealora.protocol.messages import MAX_COHORT, MAX_NAME_BYTES
from sealora.protocol.secure_answers import Receipt
from sealora.protocol.secure_fields import (
    SEALED_BYTES,
    fields_of,
    require,
    require_hash,
    require_length,
    require_positions,
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
        return wire.Member(**fields_of(self))

    @staticmethod
    def from_wire(message: wire.Member) -> "Member":
        """Raises ProtocolError outside the bounds."""
        require(0 < len(message.site.encode()) <= MAX_NAME_BYTES)
        require_length(message.share_key, KEY_BYTES)
        require_length(message.mask_key, KEY_BYTES)
        require_length(message.signature, SIGNATURE_BYTES)
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
        require(len(message.members) <= MAX_COHORT)
        members = tuple(Member.from_wire(member) for member in message.members)
        closures = tuple(closure_from_wire(closure) for closure in message.closures)
        return Adverts(require_hash(message.header_hash), members, closures)


@dataclass(frozen=True)
class Deliveries:
    """R2 request: U2, and the sealed shares of its members for the recipient, in their order."""

    session: bytes
    sharers: tuple[int, ...]
    sealed: bytes

    def to_wire(self) -> wire.SecureRequest:
        """The protobuf message."""
        return wire.SecureRequest(deliveries=wire.Deliveries(**fields_of(self)))

    @staticmethod
    def from_wire(message: wire.Deliveries) -> "Deliveries":
        """Raises ProtocolError outside the bounds."""
        require(len(message.sealed) % SEALED_BYTES == 0)
        return Deliveries(require_hash(message.session), require_positions(message.sharers), message.sealed)


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
        require(len(message.receipts) == len(message.survivors))
        receipts = tuple(Receipt.from_wire(receipt) for receipt in message.receipts)
        return Survivors(require_hash(message.session), require_positions(message.survivors), receipts)


@dataclass(frozen=True)
class Signers:
    """R4 request: the members of U3 that signed the statement, with their signatures."""

    session: bytes
    signers: tuple[int, ...]
    signatures: tuple[bytes, ...]

    def to_wire(self) -> wire.SecureRequest:
        """The protobuf message."""
        return wire.SecureRequest(signers=wire.Signers(**fields_of(self)))

    @staticmethod
    def from_wire(message: wire.Signers) -> "Signers":
        """Raises ProtocolError outside the bounds."""
        require(len(message.signatures) == len(message.signers))
        for signature in message.signatures:
            require_length(signature, SIGNATURE_BYTES)
        return Signers(
            require_hash(message.session), require_positions(message.signers), tuple(message.signatures)
        )


def closure_to_wire(closure: Closure) -> wire.Closure:
    """The protobuf message of a closure."""
    return wire.Closure(session=closure.session, public_key=closure.public, signature=closure.signature)


def closure_from_wire(message: wire.Closure) -> Closure:
    """Raises ProtocolError outside the bounds."""
    require_length(message.public_key, KEY_BYTES)
    require_length(message.signature, SIGNATURE_BYTES)
    return Closure(require_hash(message.session), message.public_key, message.signature)


Request = Adverts | Deliveries | Survivors | Signers

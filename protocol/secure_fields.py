"""Fields of a secure session's messages, to and from protobufs; whatever is out of bounds is malformed."""

import struct
from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

from google.protobuf.message import DecodeError, Message

from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import TAG_BYTES
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import HASH_BYTES, MAX_COHORT
from sealora.protocol.shamir import SHARE_BYTES

SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
"""A sealed pair of shares: of the self-mask seed and of the mask key's scalar."""


def encode_positions(positions: Sequence[int]) -> bytes:
    """A set of positions as it is signed: 4 big-endian bytes each, ascending."""
    return struct.pack(f">{len(positions)}I", *positions)


def fields_of(body: Any) -> dict[str, Any]:
    """The fields of a frozen value, which the protobuf message calls by the same names."""
    return {field.name: getattr(body, field.name) for field in fields(body)}


def serialise(message: Message) -> bytes:
    """The same bytes for the same message."""
    return message.SerializeToString(deterministic=True)


def parse(message: Message, raw: Bytes) -> None:
    """Fill a message. Raises ProtocolError unless the bytes are one."""
    try:
        message.ParseFromString(bytes(raw))
    except DecodeError:
        raise ProtocolError("malformed", "the bytes are not a message of a secure session") from None


def require_positions(raw: Sequence[int]) -> tuple[int, ...]:
    """Raises ProtocolError unless they are strictly ascending, and not too many."""
    require(len(raw) <= MAX_COHORT)
    require(all(one < other for one, other in pairwise(raw)))
    return tuple(raw)


def require_hash(value: bytes) -> bytes:
    """Raises ProtocolError unless it is as long as a hash."""
    require_length(value, HASH_BYTES)
    return value


def require_length(value: bytes, length: int) -> None:
    """Raises ProtocolError for another length."""
    require(len(value) == length)


def require(condition: bool) -> None:
    """Raises ProtocolError where a bound does not hold."""
    if not condition:
        raise ProtocolError("malformed", "a field of a secure session's message is out of its bounds")

"""The frames of a link as frozen values, with every bound checked before anything is allocated.

`Frame` subclasses serialise themselves; `parse` takes bytes from an untrusted peer and raises
ProtocolError("malformed", …) for anything but a frame of this version within its bounds.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from sealora.protocol import link_pb2 as wire
from sealora.protocol import long_fields
from sealora.protocol.errors import ProtocolError
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import HASH_BYTES, MAX_MESSAGE_BYTES, MAX_NAME_BYTES

VERSIONS = (1,)
"""Of the link, newest first. What the messages inside say is versioned by their headers."""
MAX_VERSIONS = 16
PART_BYTES = 1 << 20
"""Most bytes of a message in one part."""
MAX_FRAME_BYTES = PART_BYTES + 1024
ID_BYTES = 16


@dataclass(frozen=True)
class Hello:
    """The first frame of a connection: who is there, and in which process."""

    site: str
    instance: bytes
    versions: Sequence[int] = VERSIONS

    def serialise(self) -> bytes:
        """The bytes that travel."""
        hello = wire.Hello(versions=self.versions, site=self.site, instance=self.instance)
        return wire.Frame(hello=hello).SerializeToString()


@dataclass(frozen=True)
class Welcome:
    """The coordinator's answer: the version chosen, and the hash of the plan that it runs."""

    version: int
    plan_hash: bytes

    def serialise(self) -> bytes:
        """The bytes that travel."""
        return wire.Frame(
            welcome=wire.Welcome(version=self.version, plan_hash=self.plan_hash)
        ).SerializeToString()


@dataclass(frozen=True)
class Part:
    """Bytes of a message from `offset` on. The last part carries the SHA-256 of the whole."""

    exchange: bytes
    size: int
    offset: int
    data: Bytes = field(repr=False)
    """Perhaps a view of the message, or of the frame in which it came."""
    digest: bytes = b""

    def serialise(self) -> bytes:
        """The bytes that travel: protobuf's own encoding, in one copy of the data."""
        head = wire.Part(exchange=self.exchange, size=self.size, offset=self.offset).SerializeToString()
        data = long_fields.field(wire.Part.DATA_FIELD_NUMBER, self.data)
        tail = long_fields.field(wire.Part.DIGEST_FIELD_NUMBER, self.digest) if self.digest else ()
        return b"".join(long_fields.field(wire.Frame.PART_FIELD_NUMBER, head, *data, *tail))


@dataclass(frozen=True)
class Credit:
    """How many bytes of a message have arrived, and up to which one its sender may go."""

    exchange: bytes
    received: int
    limit: int

    def serialise(self) -> bytes:
        """The bytes that travel."""
        credit = wire.Credit(exchange=self.exchange, received=self.received, limit=self.limit)
        return wire.Frame(credit=credit).SerializeToString()


Frame = Hello | Welcome | Part | Credit


def new_id() -> bytes:
    """A random id, of an exchange or of a process."""
    return os.urandom(ID_BYTES)


def choose_version(offered: Sequence[int]) -> int:
    """The newest version that both sides speak. Raises ProtocolError("version")."""
    for version in VERSIONS:
        if version in offered:
            return version
    raise ProtocolError(
        "version",
        f"the peer speaks version {', '.join(map(str, offered)) or 'none'} of the link, this is "
        f"{', '.join(map(str, VERSIONS))}: update the older of the two",
    )


def parse(raw: Bytes) -> Frame:
    """Raises ProtocolError unless the bytes are a frame within its bounds."""
    _require(len(raw) <= MAX_FRAME_BYTES, "the frame is too long")
    part = _quick_part(raw)
    if part is not None:
        return part
    frame = wire.Frame()
    try:
        frame.ParseFromString(bytes(raw))
    except DecodeError:
        raise ProtocolError("malformed", "the bytes are not a frame of this protocol") from None
    match frame.WhichOneof("body"):
        case "part":
            found = frame.part
            return _part(found.exchange, found.size, found.offset, found.data, found.digest)
        case "credit":
            return _credit(frame.credit)
        case "hello":
            return _hello(frame.hello)
        case "welcome":
            return _welcome(frame.welcome)
    raise ProtocolError("malformed", "an empty frame")


def _quick_part(raw: Bytes) -> Part | None:
    """A part without the copies of protobuf; None for what is to be left to its parser."""
    frame = long_fields.split(raw)
    if frame is None or set(frame) != {wire.Frame.PART_FIELD_NUMBER}:
        return None
    fields = long_fields.scan(frame[wire.Frame.PART_FIELD_NUMBER])
    if fields is None or not set(fields) <= {1, 2, 3, 4, 5}:
        return None
    match [fields.get(number) for number in range(1, 6)]:
        case [
            memoryview() as exchange,
            int(size),
            int() | None as offset,
            memoryview() as data,
            memoryview() | None as digest,
        ]:
            return _part(bytes(exchange), size, offset or 0, data, bytes(digest or b""))
    return None


def _part(exchange: bytes, size: int, offset: int, data: Bytes, digest: bytes) -> Part:
    end = offset + len(data)
    _require(len(exchange) == ID_BYTES, "an exchange's id is not 16 bytes")
    _require(1 <= size <= MAX_MESSAGE_BYTES, "the message is empty or too long")
    _require(1 <= len(data) <= PART_BYTES, "a part is empty or too long")
    _require(end <= size, "a part goes beyond its message")
    _require(len(digest) == (HASH_BYTES if end == size else 0), "the digest is not in the last part")
    return Part(exchange, size, offset, data, digest)


def _credit(credit: wire.Credit) -> Credit:
    _require(len(credit.exchange) == ID_BYTES, "an exchange's id is not 16 bytes")
    _require(credit.received <= credit.limit <= MAX_MESSAGE_BYTES, "a credit is out of bounds")
    return Credit(credit.exchange, credit.received, credit.limit)


def _hello(hello: wire.Hello) -> Hello:
    _require(1 <= len(hello.versions) <= MAX_VERSIONS, "no versions, or too many")
    _require(0 < len(hello.site.encode()) <= MAX_NAME_BYTES, "a site's name is empty or too long")
    _require(len(hello.instance) == ID_BYTES, "an instance's id is not 16 bytes")
    return Hello(hello.site, hello.instance, tuple(hello.versions))


def _welcome(welcome: wire.Welcome) -> Welcome:
    _require(len(welcome.plan_hash) == HASH_BYTES, "the plan hash is not 32 bytes")
    return Welcome(welcome.version, welcome.plan_hash)


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ProtocolError("malformed", otherwise)

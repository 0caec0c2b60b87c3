"""One message on its way in parts: what its sender and its receiver know of it, without I/O.

The receiver gives credit, so that a sender holds nothing back but what was asked for, and a receiver
never holds more than it granted. After a break the sender begins again with what needs no credit and
goes on where the receiver's credit says that it has come to; both keep their running hashes.
"""

import hashlib
from io import BytesIO

from sealora.protocol.errors import ProtocolError
from sealora.protocol.frames import PART_BYTES, Credit, Part

FIRST_CREDIT = 1 << 18
"""Bytes that may be sent before any credit has come: most messages are not longer."""
WINDOW = 1 << 23
"""Bytes that a receiver grants beyond what has arrived."""


class Content:
    """The bytes of a message and their hash, which grows as they leave; for all who are sent the same."""

    def __init__(self, message: bytes) -> None:
        self.view = memoryview(message)
        self._digest = hashlib.sha256()
        self._hashed = 0

    def hash_to(self, end: int) -> bytes:
        """The digest of the message if it ends there; empty before."""
        if end > self._hashed:
            self._digest.update(self.view[self._hashed : end])
            self._hashed = end
        return self._digest.digest() if end == len(self.view) else b""


class Outgoing:
    """A message that is being sent, and can be sent again from any byte that had left before."""

    def __init__(self, exchange: bytes, content: Content) -> None:
        self.exchange = exchange
        self._content = content
        self._size = len(content.view)
        self._sent = 0
        self.confirmed = False
        """Whether the receiver has it all."""
        self.rewind()

    def rewind(self) -> None:
        """Begin again: the connection is a new one."""
        self._next, self._limit = 0, min(self._size, FIRST_CREDIT)

    def credit(self, credit: Credit) -> None:
        """Take note of what has arrived. Raises ProtocolError for bytes that never left."""
        if credit.received > self._sent:
            raise ProtocolError("malformed", "the peer confirms bytes that were not sent")
        self._next = max(self._next, credit.received)
        self._limit = max(self._limit, min(credit.limit, self._size))
        self.confirmed = credit.received == self._size

    def next(self) -> Part | None:
        """The next part that may leave; None without credit."""
        offset, end = self._next, min(self._next + PART_BYTES, self._limit)
        if offset >= end:
            return None
        self._next, self._sent = end, max(self._sent, end)
        digest = self._content.hash_to(end)
        return Part(self.exchange, self._size, offset, self._content.view[offset:end], digest)


class Incoming:
    """A message that is arriving. Memory follows the bytes that came, not the size announced."""

    def __init__(self, exchange: bytes, size: int) -> None:
        self.exchange = exchange
        self.size = size
        self._buffer = BytesIO()
        self._digest = hashlib.sha256()
        self._received = 0
        self._limit = min(size, FIRST_CREDIT)

    @property
    def complete(self) -> bool:
        """Whether all has arrived."""
        return self._received == self.size

    @property
    def starved(self) -> bool:
        """Whether the sender will soon be out of credit."""
        return self._limit < self.size and self._limit - self._received < WINDOW // 2

    def take(self, part: Part) -> bool:
        """Append a part. False if all of it had come before the connection broke.

        Raises ProtocolError: "malformed" (another size, or a gap), "flooded" (beyond the credit given),
        "tampered" (the whole has another digest).
        """
        end = part.offset + len(part.data)
        if part.size != self.size or part.offset > self._received:
            raise ProtocolError("malformed", "a part does not continue its message")
        if end > self._limit:
            raise ProtocolError("flooded", "a part exceeds the credit that was given")
        if end <= self._received:
            return False
        fresh = part.data[self._received - part.offset :] if part.offset < self._received else part.data
        self._buffer.write(fresh)
        self._digest.update(fresh)
        self._received = end
        if self.complete and self._digest.digest() != part.digest:
            raise ProtocolError("tampered", "a message does not have the digest that came with it")
        return True

    def grant(self) -> Credit:
        """Credit for the next bytes."""
        self._limit = min(self.size, self._received + WINDOW)
        return Credit(self.exchange, self._received, self._limit)

    def state(self) -> Credit:
        """What has arrived, without further credit."""
        return Credit(self.exchange, self._received, self._limit)

    def message(self) -> bytes:
        """The whole message, once: its memory is handed over, not copied."""
        buffer, self._buffer = self._buffer, BytesIO()
        return buffer.getvalue()

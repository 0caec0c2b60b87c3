"""The ends of a link as state machines: frames in, frames out, and messages across lost connections.

The coordinator's end has one request under way at a time and awaits its reply; a site's end takes
requests and answers the last. Both outlive their connections:

    end.reconnected()                        # after every handshake
    while frame := end.next(): write(frame)
    if arrived := end.receive(frame): ...

A request and its reply are one exchange, with one id. A message arrives once, whole, its digest
checked; a repetition is only confirmed again. An end holds two messages at most, one each way.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from sealora.protocol.errors import ProtocolError
from sealora.protocol.frames import Credit, Frame, Part, new_id
from sealora.protocol.messages import MAX_MESSAGE_BYTES
from sealora.protocol.transfer import Content, Incoming, Outgoing


@dataclass(frozen=True)
class Arrived:
    """A whole message."""

    exchange: bytes
    message: bytes = field(repr=False)
    digest: bytes
    """Its SHA-256."""


def always(_: int) -> bool:
    """Admits messages of any size."""
    return True


class Channel(ABC):
    """What both ends have in common.

    `largest` bounds a message; `admit` is asked once for each, before credit is given for more than
    its first bytes, whether memory for so many bytes can be had now.
    """

    def __init__(self, largest: int = MAX_MESSAGE_BYTES, admit: Callable[[int], bool] = always) -> None:
        self._largest = largest
        self._admit = admit
        self._outgoing: Outgoing | None = None
        self._incoming: Incoming | None = None
        self._admitted = False
        self._credit: Credit | None = None

    def reconnected(self) -> None:
        """Begin to send again on a new connection; what has arrived, on either side, stays."""
        self._credit = None
        if self._outgoing is not None:
            self._outgoing.rewind()

    def next(self) -> Frame | None:
        """The next frame to write; None until something happens."""
        credit, self._credit = self._credit, None
        return credit or (self._outgoing.next() if self._outgoing is not None else None)

    def receive(self, frame: Frame) -> Arrived | None:
        """Take a frame of the peer's. Raises ProtocolError: the connection is to be closed."""
        match frame:
            case Credit():
                if self._outgoing is not None and frame.exchange == self._outgoing.exchange:
                    self._outgoing.credit(frame)
                    if self._outgoing.confirmed:
                        self._outgoing = None
                return None
            case Part():
                return self._take(frame)
        raise ProtocolError("out_of_order", "the link was greeted twice")

    def readmit(self) -> None:
        """Ask again for memory that was not to be had before."""
        if self._incoming is not None and not self._incoming.complete:
            self._grant(self._incoming)

    @abstractmethod
    def _wants(self, exchange: bytes) -> bool:
        """Whether a message of this exchange is to come; if not, its sender is told that all is here."""

    @abstractmethod
    def _done(self, exchange: bytes) -> None:
        """A message has arrived."""

    def _take(self, part: Part) -> Arrived | None:
        if part.size > self._largest:
            raise ProtocolError("malformed", f"a message of {part.size} bytes is more than is expected here")
        if not self._wants(part.exchange):
            self._credit = Credit(part.exchange, part.size, part.size)
            return None
        incoming = self._incoming
        if incoming is None or incoming.exchange != part.exchange:
            incoming = self._incoming = Incoming(part.exchange, part.size)
            self._admitted = False
        return self._append(incoming, part)

    def _append(self, incoming: Incoming, part: Part) -> Arrived | None:
        try:
            repeated = not incoming.take(part)
        except ProtocolError:
            self._incoming = None
            raise
        if incoming.complete:
            self._incoming, self._credit = None, incoming.state()
            self._done(part.exchange)
            return Arrived(part.exchange, incoming.message(), part.digest)
        if incoming.starved:
            self._grant(incoming)
        if repeated:
            self._credit = incoming.state()
        return None

    def _grant(self, incoming: Incoming) -> None:
        self._admitted = self._admitted or self._admit(incoming.size)
        if self._admitted:
            self._credit = incoming.grant()


class CoordinatorEnd(Channel):
    """Sends a request and awaits the reply."""

    _awaited: bytes | None = None
    _request: Content | None = None

    def request(self, content: Content) -> bytes:
        """Send this, and forget what was sent before; returns the exchange's id."""
        self.withdraw()
        self._awaited, self._request = new_id(), content
        self._outgoing = Outgoing(self._awaited, content)
        return self._awaited

    def withdraw(self) -> None:
        """Send no more of the request and await no reply."""
        self._awaited = self._outgoing = self._incoming = None
        self._request = None

    def restarted(self) -> None:
        """The site's process is a new one: it needs the whole request, and may answer differently."""
        self._incoming = None
        if self._awaited is not None and self._request is not None:
            self._outgoing = Outgoing(self._awaited, self._request)

    def _wants(self, exchange: bytes) -> bool:
        return exchange == self._awaited

    def _done(self, exchange: bytes) -> None:
        self._awaited = self._outgoing = None
        self._request = None


class SiteEnd(Channel):
    """Takes requests, the last of which counts, and answers it."""

    _current: bytes | None = None
    _taken = False

    def answer(self, exchange: bytes, message: bytes) -> None:
        """Send the reply of an exchange, unless another request has come since."""
        if self._taken and exchange == self._current:
            self._outgoing = Outgoing(exchange, Content(message))

    def _wants(self, exchange: bytes) -> bool:
        if exchange != self._current:
            self._current, self._taken = exchange, False
            self._outgoing = self._incoming = None
        return not self._taken

    def _done(self, exchange: bytes) -> None:
        self._taken = True

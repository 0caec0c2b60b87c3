"""What a site has been asked, as a state machine: one request at work, the newest waiting, one answer kept.

A request is known by the digest of its bytes: asked again, after whatever was restarted on the other
side, it gets the very bytes of the answer that it had, or will have. Nothing is done twice.
"""

from dataclasses import dataclass

from sealora.protocol.channel import Arrived


@dataclass(frozen=True)
class Answer:
    """The reply to an exchange."""

    exchange: bytes
    message: bytes


class Desk:
    """One site's. Holds two requests and one answer at most."""

    def __init__(self) -> None:
        self._working: Arrived | None = None
        self._waiting: Arrived | None = None
        self._last: tuple[bytes, bytes] = b"", b""

    def take(self, asked: Arrived) -> Answer | None:
        """Take a request; returns the answer if there is one already."""
        self._waiting = None
        if asked.digest == self._last[0]:
            return Answer(asked.exchange, self._last[1])
        if self._working is not None and asked.digest == self._working.digest:
            self._working = asked
        else:
            self._waiting = asked
        return None

    def begin(self) -> bytes | None:
        """The request to work on now; None if there is none, or one is at work."""
        if self._working is not None or self._waiting is None:
            return None
        self._working, self._waiting = self._waiting, None
        return self._working.message

    def finish(self, reply: bytes) -> Answer:
        """The work that was begun is done."""
        working, self._working = self._working, None
        if working is None:
            raise RuntimeError("no request is at work")
        self._last = working.digest, reply
        return Answer(working.exchange, reply)

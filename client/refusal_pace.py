"""How fast a site refuses: each refusal is a line of its log for good, and costs who asks for it nothing."""

import time
from collections.abc import Callable

from sealora.protocol import messages
from sealora.protocol.errors import ProtocolError
from sealora.protocol.messages import MAX_TEXT_BYTES, Refusal

BURST = 200
"""Refusals that leave at once: an honest coordinator asks a site that refuses a few times a round."""
SECONDS = 20.0
"""After which one more may leave at once."""


class RefusalPace:
    """A token bucket over refusals, of any reason; other answers are never held."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left, self._seen = float(BURST), clock()

    def seconds(self, reply: bytes) -> float:
        """For how long to hold this answer, from now on."""
        if not _is_refusal(reply):
            return 0.0
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._seen) / SECONDS) - 1
        self._seen = now
        return max(0.0, -self._left * SECONDS)


def _is_refusal(reply: bytes) -> bool:
    if len(reply) > 2 * MAX_TEXT_BYTES:
        return False
    try:
        return isinstance(messages.parse_reply(reply), Refusal)
    except ProtocolError:
        return False

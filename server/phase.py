"""One request to each of some sites: who has answered, and how long the others are waited for."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from sealora.protocol.transfer import Content
from sealora.server.peer import Peer

Answers = SimpleQueue[tuple[str, bytes] | None]
"""Replies in the order in which they come, then None."""


@dataclass(frozen=True)
class Waiting:
    """How long a phase goes on."""

    deadline: float
    """Seconds from its beginning, whatever happens."""
    patience: float
    """Seconds for which an absent site is waited for once all others have answered."""
    least: int = 0
    """Answers without which the phase goes on to its deadline: absent sites may come back."""


class Phase:
    """Ends when all have answered, when those left have gone for good, or at the deadline.

    Only the sites of `peers` are asked. Lives on the event loop. `ended` is told whose replies are awaited
    no more.
    """

    def __init__(
        self,
        requests: Mapping[str, bytes],
        peers: Mapping[str, Peer],
        waiting: Waiting,
        answers: Answers,
        ended: Callable[[Iterable[str]], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._peers = dict(peers)
        self._waiting = waiting
        self._answers = answers
        self._ended = ended
        # Most phases send everybody the same bytes, which are then hashed once.
        contents = {id(request): Content(request) for request in requests.values()}
        self._open = {site: peer.request(contents[id(requests[site])]) for site, peer in self._peers.items()}
        self._answered = 0
        self._began = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def seconds_left(self) -> float:
        """Until the deadline."""
        return max(0.0, self._began + self._waiting.deadline - self._loop.time())

    @property
    def lacking(self) -> int:
        """Sites that have to come before the phase can succeed."""
        present = sum(self._peers[site].connected for site in self._open)
        return max(0, self._waiting.least - self._answered - present)

    def arrived(self, site: str, exchange: bytes, reply: bytes) -> None:
        """Take a reply."""
        if self._open.get(site) == exchange:
            del self._open[site]
            self._answered += 1
            self._answers.put((site, reply))
            self.check()

    def check(self) -> None:
        """End the phase if it is over, and otherwise look again when it may be. To be called first of all."""
        if self._timer is not None:
            self._timer.cancel()
        wait = self._wait() if self._open else 0.0
        if wait <= 0:
            self.close()
        else:
            self._timer = self._loop.call_later(wait, self.check)

    def close(self) -> None:
        """Await nothing more."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for site in self._open:
            self._peers[site].withdraw()
        self._answers.put(None)
        self._ended(self._open)

    def _wait(self) -> float:
        """Seconds after which the phase may be over though nothing happened; 0 or less if it is."""
        left = self.seconds_left
        absent = [self._peers[site] for site in self._open if not self._peers[site].connected]
        if len(absent) < len(self._open) or self._answered < self._waiting.least:
            return left
        last = max(max(peer.absent_since, self._began) for peer in absent)
        return min(left, last + self._waiting.patience - self._loop.time())

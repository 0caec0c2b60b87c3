"""Everything of the fleet that lives on the event loop: the sites' peers, the open phase, the memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sealora.protocol.channel import Arrived, CoordinatorEnd
from sealora.protocol.errors import ProtocolError
from sealora.protocol.messages import MAX_MESSAGE_BYTES
from sealora.server.budget import Budget
from sealora.server.peer import Peer
from sealora.server.phase import Answers, Phase, Waiting

MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class Presence:
    """What the coordinator can tell of its sites."""

    connected: tuple[str, ...]
    absent: tuple[str, ...]
    lacking: int = 0
    """Sites that have to come before the open phase can succeed."""
    seconds_left: float = 0.0
    """Until the deadline of the open phase."""


class Switchboard:
    """Peers by site, made when they are first needed. `told` hears of every coming and going."""

    def __init__(
        self,
        sites: Callable[[], Sequence[str]],
        told: Callable[[Presence], None] = lambda _: None,
        memory: int = MEMORY_BYTES,
        largest: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._told = told
        self._budget = Budget(memory)
        self._phase: Phase | None = None
        self._sites = sites
        self._largest = largest
        self._peers: dict[str, Peer] = {}

    def peer(self, site: str) -> Peer:
        """A member's peer. Raises ProtocolError("stranger") for anybody else."""
        if site not in self._sites():
            raise ProtocolError("stranger", f"{site} is not a site of this run")
        return self._peer(site)

    def open(self, requests: Mapping[str, bytes], waiting: Waiting, answers: Answers) -> Phase:
        """Ask sites; their answers go to the queue, then None. One phase is open at a time.

        Who was revoked since the attempt began is asked for nothing more, as if it had gone.
        """
        members = self._sites()
        peers = {site: self._peer(site) for site in requests if site in members}
        phase = self._phase = Phase(requests, peers, waiting, answers, self._ended)
        phase.check()
        if phase.lacking:
            self._told(self.presence)
        return phase

    def consumed(self, sites: Iterable[str]) -> None:
        """Replies that are in memory no longer."""
        freed = [self._budget.free(site) for site in sites]
        if any(freed):
            for peer in self._peers.values():
                peer.readmit()

    @property
    def presence(self) -> Presence:
        """Who is there now."""
        there = {site for site, peer in self._peers.items() if peer.connected}
        members = sorted(self._sites())
        present = tuple(site for site in members if site in there)
        absent = tuple(site for site in members if site not in there)
        if self._phase is None:
            return Presence(present, absent)
        return Presence(present, absent, self._phase.lacking, self._phase.seconds_left)

    def _peer(self, site: str) -> Peer:
        if site not in self._peers:
            self._peers[site] = self._make(site)
        return self._peers[site]

    def _make(self, site: str) -> Peer:
        def arrived(reply: Arrived) -> None:
            if self._phase is not None:
                self._phase.arrived(site, reply.exchange, reply.message)

        end = CoordinatorEnd(self._largest, lambda size: self._budget.take(site, size))
        return Peer(end, arrived, self._changed)

    def _changed(self) -> None:
        if self._phase is not None:
            self._phase.check()
        self._told(self.presence)

    def _ended(self, unanswered: Iterable[str]) -> None:
        self._phase = None
        self.consumed(unanswered)

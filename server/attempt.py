"""One attempt over a fleet: carries the messages of a session, phase by phase, and counts them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sealora.protocol import messages
from sealora.protocol.codec import Layout, Values
from sealora.protocol.errors import AttemptFailed, ProtocolError
from sealora.protocol.fleet import Fleet
from sealora.protocol.messages import Open, Reason, Refusal
from sealora.protocol.session import CoordinatorHalf, Sum
from sealora.server.events import Event, PhaseOpened, SiteAnswered, SiteRefused


@dataclass
class Attempt:
    """Bytes and seconds are those of this attempt alone; `tries` is how often a phase is asked at most."""

    round: int
    number: int
    cohort: tuple[str, ...]
    layout: Layout
    fleet: Fleet
    deadline: float
    tell: Callable[[Event], None]
    tries: int = 1
    bytes_down: int = 0
    bytes_up: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    transcript: str = ""
    out_of_budget: set[str] = field(default_factory=set)
    """Sites that refused because their privacy budget does not pay for the attempt."""
    restored: set[str] = field(default_factory=set)
    """Sites whose log or ledger went back: they run on an old copy."""
    sums: Mapping[str, Values] = field(default_factory=dict, repr=False)
    """The decoded sum by segment, once there is one."""

    def run(self, session: CoordinatorHalf, opening: Open) -> Sum:
        """Open the session with the model, unless it was taken up again later, and follow it to its end.

        Raises AttemptFailed, or AttemptPending where sites hold back the last shares.
        """
        if session.phase == "train":
            self._phase(session, dict.fromkeys(self.cohort, messages.request(opening)))
        while requests := self._requests(session):
            self._phase(session, requests)
        total = session.result()
        self.transcript = session.transcript.hex()
        self.sums = self._decode(total)
        return total

    def _decode(self, total: Sum) -> Mapping[str, Values]:
        try:
            return self.layout.decode(total.words, len(total.contributors))
        except ValueError:
            raise AttemptFailed("the sum is not one that these contributors can have sent.") from None

    def _phase(self, session: CoordinatorHalf, requests: Mapping[str, bytes]) -> None:
        """Ask the sites, and once more those that were not heard if the phase must not be given up."""
        name, started = session.phase, time.perf_counter()
        self.tell(PhaseOpened(self.round, name, len(requests)))
        self._ask(name, session, requests)
        for _ in range(1, self.tries):
            if session.incomplete:
                self._ask(name, session, self._requests(session))
        session.advance()
        self.seconds[name] = time.perf_counter() - started

    def _ask(self, phase: str, session: CoordinatorHalf, requests: Mapping[str, bytes]) -> None:
        self.bytes_down += sum(map(len, requests.values()))
        for site, reply in self.fleet.exchange(requests, self.deadline):
            self.bytes_up += len(reply)
            self._take(phase, session, site, reply, len(requests[site]))
            del reply  # as long as the model: it must be gone when the next one comes

    def _requests(self, session: CoordinatorHalf) -> Mapping[str, bytes]:
        """The open phase's messages as they travel. One that is the same for all sites is there once."""
        given = session.requests()
        distinct = {id(message): message for message in given.values()}
        wrapped = {key: messages.request(message) for key, message in distinct.items()}
        return {site: wrapped[id(message)] for site, message in given.items()}

    def _take(self, phase: str, session: CoordinatorHalf, site: str, reply: bytes, sent: int) -> None:
        try:
            body = messages.parse_reply(reply)
            if isinstance(body, Refusal):
                if body.reason == Reason.BUDGET:
                    self.out_of_budget.add(site)
                session.leave(site, body.text)
                self.tell(SiteRefused(self.round, site, body.reason.name.lower(), body.text))
                return
            session.receive(site, body)
            self.tell(SiteAnswered(self.round, phase, site, sent, len(reply)))
        except ProtocolError as error:
            if error.failure == "restored":
                self.restored.add(site)
            self.tell(SiteRefused(self.round, site, error.failure, error.message))

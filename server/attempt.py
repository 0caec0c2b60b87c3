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
    """Bytes and seconds are those of this attempt alone."""

    round: int
    number: int
    cohort: tuple[str, ...]
    layout: Layout
    fleet: Fleet
    deadline: float
    tell: Callable[[Event], None]
    bytes_down: int = 0
    bytes_up: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    transcript: str = ""
    out_of_budget: set[str] = field(default_factory=set)
    """Sites that refused because their privacy budget does not pay for the attempt."""
    sums: Mapping[str, Values] = field(default_factory=dict, repr=False)
    """The decoded sum by segment, once there is one."""

    def run(self, session: CoordinatorHalf, opening: Open) -> Sum:
        """Open the session with the model, unless it was taken up again later, and follow it to its end.

        Raises AttemptFailed.
        """
        if session.phase == "train":
            self._phase("train", session, dict.fromkeys(self.cohort, messages.request(opening)))
        while requests := session.requests():
            wrapped = {site: messages.request(message) for site, message in requests.items()}
            self._phase(session.phase, session, wrapped)
        total = session.result()
        self.transcript = session.transcript.hex()
        self.sums = self._decode(total)
        return total

    def _decode(self, total: Sum) -> Mapping[str, Values]:
        try:
            return self.layout.decode(total.words, len(total.contributors))
        except ValueError:
            raise AttemptFailed("the sum is not one that these contributors can have sent.") from None

    def _phase(self, name: str, session: CoordinatorHalf, requests: Mapping[str, bytes]) -> None:
        started = time.perf_counter()
        self.tell(PhaseOpened(self.round, name, len(requests)))
        self.bytes_down += sum(map(len, requests.values()))
        for site, reply in self.fleet.exchange(requests, self.deadline):
            self.bytes_up += len(reply)
            self._take(name, session, site, reply, len(requests[site]))
        session.advance()
        self.seconds[name] = time.perf_counter() - started

    def _take(self, phase: str, session: CoordinatorHalf, site: str, reply: bytes, sent: int) -> None:
        try:
            body = messages.parse_reply(reply)
            if isinstance(body, Refusal):
                if body.reason == Reason.BUDGET:
                    self.out_of_budget.add(site)
                self.tell(SiteRefused(self.round, site, body.reason.name.lower(), body.text))
                return
            session.receive(site, body)
            self.tell(SiteAnswered(self.round, phase, site, sent, len(reply)))
        except ProtocolError as error:
            self.tell(SiteRefused(self.round, site, error.failure, error.message))

"""One attempt over a fleet: carries the messages of a session, phase by phase, and counts them.

Attempts on disjoint cohorts, such as those of fixed groups, are conducted together: a phase of all of them
is one exchange, so that groups train at the same time.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sealora.protocol import messages
from sealora.protocol.codec import Layout, Values, Words
from sealora.protocol.errors import AttemptFailed, AttemptPending, ProtocolError
from sealora.protocol.fleet import Fleet
from sealora.protocol.messages import Open, Reason, Refusal
from sealora.protocol.session import CoordinatorHalf, Sum
from sealora.server.events import Event, PhaseOpened, SiteAnswered, SiteRefused


@dataclass(eq=False)
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
    group: int = 0
    """The number of the fixed group that the cohort is of, from 1; 0 where there are no groups."""
    bytes_down: int = 0
    bytes_up: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    transcript: str = ""
    out_of_budget: set[str] = field(default_factory=set)
    """Sites that refused because their privacy budget does not pay for the attempt."""
    restored: set[str] = field(default_factory=set)
    """Sites whose log or ledger went back: they run on an old copy."""
    spoilers: set[str] = field(default_factory=set)
    """Sites whose words, where they are seen, are no payload: they are in no sum."""
    spoiled: bool = False
    """Whether the sum is none that honest sites can have sent: one of the contributors spoiled it."""
    failure: AttemptFailed | AttemptPending | None = None
    """Why there is no sum, once that is known."""
    total: Sum | None = field(default=None, repr=False)
    sums: Mapping[str, Values] = field(default_factory=dict, repr=False)
    """The decoded sum by segment, once there is one."""
    apart: Mapping[str, Mapping[str, Values]] = field(default_factory=dict, repr=False)
    """The decoded payload of each contributor, where the session kept them apart."""
    _session: CoordinatorHalf | None = field(default=None, repr=False)
    _opening: bytes = field(default=b"", repr=False)
    """The first request; empty once it was sent."""

    def run(self, session: CoordinatorHalf, opening: Open) -> Sum:
        """Open the session with the model, unless it was taken up again later, and follow it to its end.

        Raises AttemptFailed, or AttemptPending where sites hold back the last shares.
        """
        conduct([self.begun(session, opening)])
        if self.failure is not None:
            raise self.failure
        assert self.total is not None
        return self.total

    def begun(self, session: CoordinatorHalf, opening: Open) -> "Attempt":
        """This attempt, about to be conducted with that session."""
        self._session = session
        self._opening = messages.request(opening) if session.phase == "train" else b""
        return self

    @property
    def session(self) -> CoordinatorHalf:
        """The session that it was begun with."""
        assert self._session is not None
        return self._session

    @property
    def requests(self) -> Mapping[str, bytes]:
        """The open phase's messages as they travel; none once the session has ended or failed."""
        if self.failure is not None:
            return {}
        if self._opening:
            return dict.fromkeys(self.cohort, self._opening)
        given = self.session.requests()
        # One that is the same for all sites is there once.
        distinct = {id(message): message for message in given.values()}
        wrapped = {key: messages.request(message) for key, message in distinct.items()}
        return {site: wrapped[id(message)] for site, message in given.items()}

    @property
    def repeated(self) -> Mapping[str, bytes]:
        """What is to be asked once more, if the phase must not be given up."""
        return self.requests if self.session.incomplete else {}

    def take(self, phase: str, site: str, reply: bytes, sent: int) -> None:
        """A site's reply to a message of so many bytes."""
        self.bytes_up += len(reply)
        try:
            body = messages.parse_reply(reply)
            if isinstance(body, Refusal):
                if body.reason == Reason.BUDGET:
                    self.out_of_budget.add(site)
                self.session.leave(site, body.text)
                self.tell(SiteRefused(self.round, site, body.reason.name.lower(), body.text))
                return
            self.session.receive(site, body)
            self.tell(SiteAnswered(self.round, phase, site, sent, len(reply)))
        except ProtocolError as error:
            if error.failure == "restored":
                self.restored.add(site)
            self.tell(SiteRefused(self.round, site, error.failure, error.message))

    def close(self, phase: str, seconds: float) -> None:
        """End the phase with the answers there are; a failure is kept."""
        self.seconds[phase], self._opening = seconds, b""
        try:
            self.session.advance()
        except (AttemptFailed, AttemptPending) as failure:
            self.failure = failure

    def finish(self) -> None:
        """Take and decode the sum of a session that has ended."""
        try:
            self.total, self.sums, self.apart = self._decode(self.session.result())
        except AttemptFailed as failure:
            self.failure = failure
        self.transcript = self.session.transcript.hex()

    def _decode(self, total: Sum) -> tuple[Sum, Mapping[str, Values], Mapping[str, Mapping[str, Values]]]:
        apart = self._decode_apart(total.apart)
        if self.spoilers:
            total = Sum(_added(total.apart[site] for site in apart), tuple(apart))
        try:
            return total, self.layout.decode(total.words, len(total.contributors)), apart
        except ValueError:
            self.spoiled = True
            raise AttemptFailed("the sum is not one that these contributors can have sent.") from None

    def _decode_apart(self, words: Mapping[str, Words]) -> Mapping[str, Mapping[str, Values]]:
        """Each contributor's payload; who sent none is left out. Raises AttemptFailed if nobody is left."""
        apart = {}
        for site, sent in words.items():
            try:
                apart[site] = self.layout.decode(sent, 1)
            except ValueError:
                self.spoilers.add(site)
                self.tell(SiteRefused(self.round, site, "malformed", "its words are no payload"))
        if words and not apart:
            raise AttemptFailed("no contributor sent a payload.")
        return apart


def conduct(attempts: Sequence[Attempt]) -> None:
    """Follow begun attempts on disjoint cohorts to their ends, a phase of all at a time.

    Each keeps its sum or its failure; the first one's fleet and limits serve all.
    """
    while asked := [(attempt, requests) for attempt in attempts if (requests := attempt.requests)]:
        _phase(asked)
    for attempt in attempts:
        if attempt.failure is None:
            attempt.finish()


Asked = Sequence[tuple[Attempt, Mapping[str, bytes]]]


def _phase(asked: Asked) -> None:
    """Ask the sites, and once more those that were not heard if the phase must not be given up."""
    first, phases = asked[0][0], [attempt.session.phase for attempt, _ in asked]
    started = time.perf_counter()
    first.tell(PhaseOpened(first.round, phases[0], sum(len(requests) for _, requests in asked)))
    _ask(asked)
    for _ in range(1, first.tries):
        again = [(attempt, attempt.repeated) for attempt, _ in asked]
        if any(requests for _, requests in again):
            _ask(again)
    for (attempt, _), phase in zip(asked, phases, strict=True):
        attempt.close(phase, time.perf_counter() - started)


def _ask(asked: Asked) -> None:
    requests = {site: message for _, messages_ in asked for site, message in messages_.items()}
    of = {site: attempt for attempt, messages_ in asked for site in messages_}
    phases = {attempt: attempt.session.phase for attempt, _ in asked}
    for attempt, messages_ in asked:
        attempt.bytes_down += sum(map(len, messages_.values()))
    fleet, deadline = asked[0][0].fleet, asked[0][0].deadline
    for site, reply in fleet.exchange(requests, deadline):
        of[site].take(phases[of[site]], site, reply, len(requests[site]))
        del reply  # as long as the model: it must be gone when the next one comes


def _added(vectors: Iterable[Words]) -> Words:
    """Their sum modulo 2^64."""
    first, *others = vectors
    total = first.copy()
    for vector in others:
        total += vector
    return total

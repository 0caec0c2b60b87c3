"""Secure sessions with every party in this process, each party's work under a clock of its own.

Real keys, signatures and messages; what a site would keep on its own machine between phases (its
payload, the copy of its last answer) is taken from it, so that a thousand sites fit.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from sealora.protocol import messages
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.codec import Layout, Words
from sealora.protocol.messages import Header, Open, Work
from sealora.protocol.secure_site import SecureSiteHalf
from sealora.protocol.session import Sum
from sealora.protocol.settings import SecureAggregationSettings
from sealora.protocol.signatures import Signatures
from sealora.simulation.identities import make_identities

ADVERTISE, _SHARE, MASK, _CHECK, UNMASK = range(5)
KIBIBYTE = 1024

Result = TypeVar("Result")
Payload = Callable[[str], Words]
Clock = Callable[[], float]


class Meter(Protocol):
    """Measures the coordinator's work; `received` are the bytes of the message that it takes."""

    def __call__(self, work: Callable[[], Result], received: int = 0) -> Result: ...


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call in this process: time in which others had the processor does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


class Stopwatch:
    """Adds up the seconds of the work given: CPU seconds of this process, if it is given no other clock."""

    def __init__(self, clock: Clock = time.process_time) -> None:
        self._clock = clock
        self.seconds = 0.0

    def __call__(self, work: Callable[[], Result], received: int = 0) -> Result:
        start = self._clock()
        result = work()
        self.seconds += self._clock() - start
        return result


class MemoryMeter:
    """The most memory that the work given has held, in bytes of resident memory (Linux only).

    Counted are what the pieces of work leave behind, the message that a piece takes, and the peak
    within the piece; what other parties allocate in between is not. Vectors should be larger than
    32 MiB: smaller ones may come out of memory that somebody has freed.
    """

    def __init__(self) -> None:
        self._held = 0
        self.peak = 0

    def __call__(self, work: Callable[[], Result], received: int = 0) -> Result:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is that of now
        before = resident("VmRSS")
        result = work()
        self.peak = max(self.peak, self._held + received + resident("VmHWM") - before)
        self._held += resident("VmRSS") - before
        return result


def resident(field_name: str) -> int:
    """A size of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name):
            return int(line.split()[1]) * KIBIBYTE
    raise RuntimeError(f"this system does not tell {field_name}")


@dataclass
class Session:
    """What one session took: seconds of each site, in all and for its masked vector, and bytes."""

    sites: dict[str, float] = field(default_factory=dict)
    masking: dict[str, float] = field(default_factory=dict)
    masked_bytes: int = 0
    result: Sum | None = None

    def site_seconds(self, timed: Sequence[str]) -> float:
        """Median over the sites that were timed."""
        return statistics.median(self.sites[name] for name in timed)

    def masking_seconds(self, timed: Sequence[str]) -> float:
        """Median over the timed sites that masked."""
        return statistics.median(self.masking[name] for name in timed if name in self.masking)


class Federation:
    """Sites with keys, logs and a roster, and the coordinator's sessions with them.

    `n_min` = 0 stands for the least allowed; sites mask with `threads` and are timed by `clock`.
    """

    def __init__(
        self,
        sites: int,
        colluders: int = -1,
        n_min: int = 0,
        threads: int = 1,
        clock: Clock = time.process_time,
    ) -> None:
        self.names = tuple(f"site{number:04}" for number in range(sites))
        settings = SecureAggregationSettings(colluders=colluders, minimum_contributors=n_min)
        self._parties = make_identities(self.names, settings)
        self._logs = {name: AttemptLog() for name in self.names}
        self._threads, self._clock = threads, clock
        self._round = 0
        self._halves: dict[str, Any] = {}

    def run(
        self,
        layout: Layout,
        payload: Payload,
        dropped: int = 0,
        timed: Sequence[str] | None = None,
        coordinator: Meter | None = None,
        until: int = UNMASK,
    ) -> Session:
        """One session up to a phase; the last `dropped` sites leave before they mask.

        `payload` draws a site's words when it needs them, under no clock. Sites that are not in
        `timed` share what they know of signatures. Raises RuntimeError if the sum is not that of the
        payloads.
        """
        expected = np.zeros(layout.words, dtype=np.uint64)

        def masked(name: str) -> bool:
            if name in self.names[len(self.names) - dropped :]:
                return False
            self._halves[name]._words = payload(name)
            np.add(expected, self._halves[name]._words, out=expected)
            return True

        def nothing(name: str) -> Words:
            return np.zeros(layout.words, dtype=np.uint64)

        session = self._run(layout, nothing, masked, timed, coordinator or Stopwatch(), until)
        if session.result is not None and not np.array_equal(session.result.words, expected):
            raise RuntimeError("the sum is not that of the payloads")
        return session

    def encode_and_run(self, layout: Layout, payload: Payload, coordinator: Meter) -> Session:
        """One session of all sites, in which making the payload is part of a site's work."""
        return self._run(layout, payload, lambda name: True, None, coordinator, UNMASK, keep=True)

    def _run(
        self,
        layout: Layout,
        payload: Payload,
        masks: Callable[[str], bool],
        timed: Sequence[str] | None,
        measure: Meter,
        until: int,
        keep: bool = False,
    ) -> Session:
        session, opening = Session(), self._opening(layout)
        half: Any = measure(lambda: self._parties.coordinator.open(opening.header))
        requests = dict.fromkeys(self.names, messages.request(opening))
        left = set(self.names)
        for phase in range(until + 1):
            for name, request in requests.items():
                if name not in left or (phase == MASK and not masks(name)):
                    left.discard(name)
                    continue
                alone = timed is None or name in timed
                reply = self._answer(session, phase, name, request, payload, alone)
                self._halves[name]._answered = None
                if not keep:
                    self._halves[name].__dict__.pop("_words", None)
                measure(lambda n=name, r=reply: half.receive(n, messages.parse_reply(r)), len(reply))  # type: ignore[misc]
            measure(half.advance)
            found = measure(half.requests)
            requests = {name: messages.request(body) for name, body in found.items()}
        session.result = half.result() if until == UNMASK else None
        return session

    def _opening(self, layout: Layout) -> Open:
        """The next round's, on a model of its own."""
        self._round += 1
        tensors = self._round.to_bytes(8, "big")
        header = Header(
            plan_hash=bytes(32),
            run=bytes(16),
            round=self._round,
            attempt=1,
            work=Work.TRAIN,
            model_hash=messages.model_hash(tensors, ()),
            cohort=self.names,
            quorum=1,
            words=layout.words,
            levels=layout.levels,
        )
        raw = self._parties.coordinator.propose(header).serialise()
        return Open(raw, tensors, (), self._parties.coordinator.sign(raw))

    def _answer(
        self, session: Session, phase: int, name: str, request: bytes, payload: Payload, alone: bool
    ) -> bytes:
        """A site's reply, under its clock."""
        clock = Stopwatch(self._clock)
        reply = clock(lambda: messages.reply(self._handle(name, request, payload, alone)))
        session.sites[name] = session.sites.get(name, 0.0) + clock.seconds
        if phase == MASK:
            session.masking[name] = clock.seconds
            session.masked_bytes = len(reply)
        return reply

    def _handle(self, name: str, raw: bytes, payload: Payload, alone: bool) -> bytes:
        request = messages.parse_request(raw)
        if not isinstance(request, Open):
            return self._halves[name].receive(request)
        member = self._parties.members[name]
        if alone:
            member = replace(member, signatures=Signatures())
        half = SecureSiteHalf(request, member, self._logs[name], self._threads)
        self._halves[name] = half
        return half.start(payload(name))

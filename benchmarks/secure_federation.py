"""Secure sessions with every party in this process, each party's work under a clock of its own.

Real keys, signatures and messages; what a site would keep on its own machine between phases (its
payload, the copy of its last answer) is taken from it, so that a thousand sites fit.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar
from unittest.mock import patch

import numpy as np

from sealora.protocol import messages, site_checks
from sealora.protocol.codec import Layout, Words
from sealora.protocol.keys import verify
from sealora.protocol.messages import Header, Open, Work
from sealora.protocol.session import Sum
from sealora.protocol.settings import SecureAggregationSettings
from sealora.simulation.identities import make_identities

ADVERTISE, _SHARE, MASK, _CHECK, UNMASK = range(5)
KIBIBYTE = 1024

Result = TypeVar("Result")
Payload = Callable[[str], Words]

remembered_verify = lru_cache(maxsize=1 << 22)(verify)
"""Verifies each signature once in this process, for sites whose time does not count."""


class Meter(Protocol):
    """Measures the coordinator's work; `received` are the bytes of the message that it takes."""

    def __call__(self, work: Callable[[], Result], received: int = 0) -> Result: ...


def seconds(work: Callable[[], object]) -> float:
    """CPU time of one call in this process: time in which others had the processor does not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


class Stopwatch:
    """Adds up the CPU seconds of the work given."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, work: Callable[[], Result], received: int = 0) -> Result:
        start = time.process_time()
        result = work()
        self.seconds += time.process_time() - start
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
    """Sites with keys, logs and a roster, and the coordinator's sessions with them."""

    def __init__(self, sites: int, colluders: int = -1) -> None:
        self.names = tuple(f"site{number:04}" for number in range(sites))
        self._parties = make_identities(self.names, SecureAggregationSettings(colluders=colluders))
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
        `timed` remember signatures. Raises RuntimeError if the sum is not that of the payloads.
        """
        measure = coordinator or Stopwatch()
        session, opening = Session(), self._opening(layout)
        half: Any = measure(lambda: self._parties.coordinator.open(opening.header))
        requests = dict.fromkeys(self.names, messages.request(opening))
        expected = np.zeros(layout.words, dtype=np.uint64)
        for phase in range(until + 1):
            for name, request in requests.items():
                if phase >= MASK and name in self.names[len(self.names) - dropped :]:
                    continue
                if phase == MASK:
                    self._halves[name]._words = payload(name)
                    expected += self._halves[name]._words
                with _remembering(timed is not None and name not in timed):
                    reply = self._answer(session, phase, name, request, layout)
                measure(lambda n=name, r=reply: half.receive(n, messages.parse_reply(r)), len(reply))  # type: ignore[misc]
            measure(half.advance)
            found = measure(half.requests)
            requests = {name: messages.request(body) for name, body in found.items()}
        if until == UNMASK:
            session.result = half.result()
            if not np.array_equal(session.result.words, expected):
                raise RuntimeError("the sum is not that of the payloads")
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

    def _answer(self, session: Session, phase: int, name: str, request: bytes, layout: Layout) -> bytes:
        """A site's reply, under its clock."""
        clock = Stopwatch()
        reply = clock(lambda: messages.reply(self._handle(name, request, layout)))
        session.sites[name] = session.sites.get(name, 0.0) + clock.seconds
        if phase == MASK:
            session.masking[name] = clock.seconds
            session.masked_bytes = len(reply)
        half = self._halves[name]
        half.__dict__.pop("_words", None)
        half._answered = None
        return reply

    def _handle(self, name: str, raw: bytes, layout: Layout) -> bytes:
        request = messages.parse_request(raw)
        if isinstance(request, Open):
            self._halves[name] = self._parties.sites[name](request)
            return self._halves[name].start(np.zeros(layout.words, dtype=np.uint64))
        return self._halves[name].receive(request)


def _remembering(remembers: bool) -> AbstractContextManager[object]:
    return patch.object(site_checks, "verify", remembered_verify) if remembers else nullcontext()

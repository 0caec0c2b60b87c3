"""The in-process fleet: every site in this process, every message as bytes, time virtual."""

from collections.abc import Callable, Iterator, Mapping

from sealora.protocol import messages
from sealora.protocol.messages import Header, Open, Work
from sealora.simulation.faults import LOST, Fault, Faults

Handler = Callable[[bytes], bytes]


class InProcessFleet:
    """Sites answer one after the other, in the order of their names.

    Computing takes no virtual time; only a fault's delay does, so the same faults always hit the
    same deadlines. Training rounds are subject to faults, the final evaluation is not.
    """

    def __init__(self, sites: Mapping[str, Handler], faults: Faults | None = None) -> None:
        self._sites = dict(sorted(sites.items()))
        self._faults = faults or Faults()
        self._fault: dict[str, Fault | None] = {}
        self._phase: dict[str, int] = {}
        self._first_attempt: dict[int, int] = {}

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return tuple(self._sites)

    def exchange(self, requests: Mapping[str, bytes], deadline: float) -> Iterator[tuple[str, bytes]]:
        """See Fleet. A late site does its work, and its reply is lost."""
        for site in sorted(requests):
            self._note_phase(site, requests[site])
            fault = self._fault[site]
            struck = fault is not None and self._phase[site] >= fault.phase
            if fault is not None and struck and fault.delay == LOST:
                continue
            reply = self._sites[site](requests[site])
            if fault is None or not struck or fault.delay <= deadline:
                yield site, reply

    def _note_phase(self, site: str, request: bytes) -> None:
        """Follow the attempt from the bytes, as an observer on the wire could."""
        body = messages.parse_request(request)
        if not isinstance(body, Open):
            self._phase[site] += 1
            return
        header = Header.parse(body.header)
        exempt = header.work == Work.EVALUATE
        # A restarted run numbers its attempts on, and must still meet the faults of a round's first.
        attempt = header.attempt - self._first_attempt.setdefault(header.round, header.attempt) + 1
        self._phase[site] = 0
        self._fault[site] = None if exempt else self._faults.of(site, header.round, attempt)

"""The in-process fleet: every site in this process, every message as bytes, time virtual."""

from collections.abc import Callable, Iterator, Mapping

from sealora.protocol import messages
from sealora.protocol.messages import Header, Open, Work
from sealora.simulation.faults import LOST, Fault, Faults
from sealora.simulation.workers import run_all

Handler = Callable[[bytes], bytes]


class InProcessFleet:
    """Up to `workers` sites work at the same time; replies come in the order of the sites' names.

    `interrupt` is called on Ctrl-C, to end the work of sites that have begun. Computing takes no
    virtual time; only a fault's delay does, so the same faults always hit the same deadlines. Training
    rounds are subject to faults, the final evaluation is not.
    """

    def __init__(
        self,
        sites: Mapping[str, Handler],
        faults: Faults | None = None,
        workers: int = 1,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self._sites = dict(sorted(sites.items()))
        self._workers = workers
        self._interrupt = interrupt
        self._faults = faults or Faults()
        self._fault: dict[str, Fault | None] = {}
        self._request: dict[str, int] = {}
        self._first_attempt: dict[int, int] = {}

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return tuple(self._sites)

    def exchange(self, requests: Mapping[str, bytes], deadline: float) -> Iterator[tuple[str, bytes]]:
        """See Fleet. A late site does its work, and its reply is lost."""
        delays = {site: self._delay(site, requests[site]) for site in sorted(requests)}
        reached = [site for site, delay in delays.items() if delay != LOST]
        answers = run_all(
            lambda site: self._sites[site](requests[site]), reached, self._workers, self._interrupt
        )
        for site, reply in answers:
            if delays[site] <= deadline:
                yield site, reply

    def _delay(self, site: str, request: bytes) -> float:
        """Virtual seconds until the site's answer to this request."""
        self._note(site, request)
        fault = self._fault.get(site)  # none in an attempt that another fleet has opened
        return fault.delay_of(self._request[site]) if fault is not None else 0.0

    def _note(self, site: str, request: bytes) -> None:
        """Follow the attempt from the bytes, as an observer on the wire could."""
        body = messages.parse_request(request)
        if not isinstance(body, Open):
            self._request[site] = self._request.get(site, 0) + 1
            return
        header = Header.parse(body.header)
        exempt = header.work == Work.EVALUATE
        # A restarted run numbers its attempts on, and must still meet the faults of a round's first.
        attempt = header.attempt - self._first_attempt.setdefault(header.round, header.attempt) + 1
        self._request[site] = 0
        self._fault[site] = None if exempt else self._faults.of(site, header.round, attempt)

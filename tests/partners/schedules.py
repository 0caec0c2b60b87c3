"""Random schedules of faults: what breaks when in a run, and when it is mended, all drawn from a seed."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from processes import Federation, Process
from proxy import Proxy

SITES, ROUNDS = 5, 3
LINES = 110
"""About as many lines as the coordinator of an undisturbed run logs."""
QUIET_SECONDS = 1.5
"""A coordinator that says nothing for so long waits for what is broken."""
KINDS = "agent", "link", "both", "coordinator", "network", "cut"


@dataclass(frozen=True)
class Break:
    """Something breaks once the coordinators have logged `line` lines, and is mended at line `until`."""

    line: int
    until: int
    kind: str
    site: str

    def __str__(self) -> str:
        what = self.kind if self.kind == "coordinator" else f"{self.kind} of {self.site}"
        return f"{what} from line {self.line} to {self.until}"


def draw(seed: int) -> list[Break]:
    """One to six breaks, in order."""
    choice = random.Random(seed)
    breaks = []
    for _ in range(choice.randint(1, 6)):
        line = choice.randrange(LINES)
        lasts = choice.choice((0, 0, 5, 20, 60))
        breaks.append(Break(line, line + lasts, choice.choice(KINDS), f"site-{choice.randint(1, SITES)}"))
    return sorted(breaks, key=lambda one: one.line)


class Disturbed:
    """A federation whose sites reach the coordinator over proxies, and that suffers a schedule."""

    def __init__(self, federation: Federation, proxies: dict[str, Proxy]) -> None:
        self.federation = federation
        self.proxies = proxies
        self.coordinators: list[Process] = []

    def open(self) -> None:
        self._coordinate()
        for site in self.federation.names:
            self._start("both", site)

    def suffer(self, schedule: list[Break]) -> None:
        """Break and mend in the order of the lines."""
        steps = [(one.line, 0, self._break, one) for one in schedule]
        steps += [(one.until, 1, self._mend, one) for one in schedule]
        for line, _, act, one in sorted(steps, key=lambda step: step[:2]):
            self._wait(line)
            act(one)

    def result(self, restarts: int) -> dict[str, object]:
        """What the run gives, when its coordinator is started again wherever it gives up."""
        while (code := self.federation.coordinator.finish()) != 0 and restarts:
            assert code in (1, -9), self.federation.coordinator.other
            restarts -= 1
            self._coordinate()
        return self.federation.result()

    def _wait(self, line: int) -> None:
        logged = self._logged()
        quiet = time.monotonic() + QUIET_SECONDS
        while self._logged() < line and time.monotonic() < quiet:
            time.sleep(0.01)  # several logs are looked at, so there is no one event to wait for
            if self._logged() > logged:
                logged, quiet = self._logged(), time.monotonic() + QUIET_SECONDS

    def _logged(self) -> int:
        return sum(len(process.lines) for process in self.coordinators)

    def _coordinate(self) -> None:
        self.coordinators.append(self.federation.coordinate())

    def _start(self, kind: str, site: str) -> None:
        if kind in ("agent", "both"):
            self.federation.agent(site)
        if kind in ("link", "both"):
            self.federation.link(site, port=self.proxies[site].port)

    def _halves(self, one: Break) -> Iterator[Process]:
        if one.kind in ("agent", "both"):
            yield self.federation.agents[one.site]
        if one.kind in ("link", "both"):
            yield self.federation.links[one.site]

    def _break(self, one: Break) -> None:
        if one.kind == "coordinator":
            self.federation.coordinator.kill()
        elif one.kind == "network":
            self.proxies[one.site].stop()
        elif one.kind == "cut":
            self.proxies[one.site].cut()
        for process in self._halves(one):
            process.kill()

    def _mend(self, one: Break) -> None:
        if one.kind == "coordinator" and self.federation.coordinator.code not in (None, 0):
            self._coordinate()
        elif one.kind == "network":
            self.proxies[one.site].go()
        for half, processes in (("agent", self.federation.agents), ("link", self.federation.links)):
            if one.kind in (half, "both") and processes[one.site].code is not None:
                self._start(half, one.site)

"""The fleet of a simulation on Flower: sites here, their work wherever Flower has it done.

Every site's half of a secure session, its keys, log, ledger and memory live in this process, as in the
in-process fleet, and messages, faults and virtual time are the same. Only measuring and training leave
it: an actor can die, and any actor can do it again, without a site having answered twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealora.client.local_work import Assignment, Outcome
from sealora.client.site import Site
from sealora.plan.loader import Plan
from sealora.plan.writer import dumps
from sealora.simulation import flower_messages
from sealora.simulation.faults import Faults
from sealora.simulation.fleet import InProcessFleet
from sealora.simulation.flower_grid import GridDesk
from sealora.simulation.flower_messages import Surroundings


@dataclass(frozen=True)
class RemoteWork:
    """Implements Worker by asking a Flower node."""

    site: str
    surroundings: Surroundings
    desk: GridDesk

    def work(self, assignment: Assignment) -> Outcome:
        """See Worker. Raises RunError if the actor was lost, again and again."""
        request = flower_messages.ask(self.site, self.surroundings, assignment)
        return flower_messages.outcome_of(self.desk.ask(request))


class FlowerFleet:
    """Implements Fleet over a grid of Flower. As many sites work at the same time as it has nodes."""

    def __init__(self, sites: Mapping[str, Site], plan: Plan, desk: GridDesk, faults: Faults) -> None:
        surroundings = Surroundings(dumps(plan), str(Path.cwd()))
        for name, site in sites.items():
            site.worker = RemoteWork(name, surroundings, desk)
        handlers = {name: site.handle for name, site in sites.items()}
        self._halves = InProcessFleet(handlers, faults, desk.nodes, desk.stop)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return self._halves.sites

    def exchange(self, requests: Mapping[str, bytes], deadline: float) -> Iterator[tuple[str, bytes]]:
        """See Fleet, and InProcessFleet for its virtual time."""
        return self._halves.exchange(requests, deadline)

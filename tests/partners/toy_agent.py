"""A site's agent with the toy trainer: `toy_agent.py ROOT SITE`."""

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import toy_plan
from parties import Parties

from sealora.client.agent import Agent
from sealora.client.attempt_file import AttemptFile
from sealora.client.audited import Audited
from sealora.client.memory import SiteMemory
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site import Site
from sealora.client.socket_place import SocketPlace
from sealora.models.task import Example
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled
from sealora.protocol import messages
from sealora.protocol.admission import Membership
from sealora.protocol.messages import Header, Open
from sealora.protocol.plain import PlainSiteHalf
from sealora.protocol.secure_site import SecureSiteHalf
from sealora.protocol.session import SiteHalf
from sealora.simulation.toy import FIRST, ToyTrainer, tensors_of


class Holds:
    """Stops before a request is worked on where there is a FIFO, `hold-ROUND-PHASE`, until it is opened."""

    def __init__(self, folder, log):
        self._folder, self._log, self._round, self._phase = folder, log, 0, 0

    def __call__(self, request):
        body = messages.parse_request(request)
        if isinstance(body, Open):
            self._round, self._phase = Header.parse(body.header).round, 0
        else:
            self._phase += 1
        self._log("asked", round=self._round, phase=self._phase)
        hold = self._folder / f"hold-{self._round}-{self._phase}"
        if hold.exists():
            self._log("held", round=self._round, phase=self._phase)
            hold.read_bytes()


class GatedTrainer(ToyTrainer):
    """Says that it trains, and waits at the gate, a FIFO, if there is one."""

    gate: Path
    log: Log

    def train(self, *arguments, **options):
        self.log("training")
        if self.gate.exists():
            self.gate.read_bytes()
        return super().train(*arguments, **options)


def main(root: Path, name: str) -> int:
    folder, log = Parties(root).site(name), Log("agent")
    sites, plan = toy_plan.read(root)
    with ExitStack() as stack:
        attempts = stack.enter_context(AttemptFile(folder.path / "attempts.jsonl", folder.public))
        audit = stack.enter_context(folder.audit_log())
        membership = Membership(name, folder.identity(None), PinnedRoster(folder).current())

        def secure(opening: Open) -> SiteHalf:
            return SecureSiteHalf(opening, membership, attempts.log)

        half = secure if plan.secure_aggregation.enabled else PlainSiteHalf
        size, example = sites.index(name) + 1, Example((1,), 0)
        trainer = GatedTrainer(tensors_of(name))
        trainer.gate, trainer.log = folder.path / "gate", log
        # As `toy_site` makes it, but without data frames, which take a second to load.
        data = SimpleNamespace(train=[example] * (10 * size), test=[example] * size)
        memory = SiteMemory(folder.path / "memory")
        site = Site(name, toy_plan.contract_of(plan), trainer, FIRST, data, memory, half)

        holds = Holds(folder.path, log)

        def handle(request: bytes) -> bytes:
            holds(request)
            return site.handle(request)

        async def work() -> None:
            await Agent(name, Audited(handle, audit), log).run(SocketPlace(folder.path / "agent.sock"))

        return asyncio.run(until_signalled(work(), supervised=True))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))

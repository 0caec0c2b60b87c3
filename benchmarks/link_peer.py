"""A process of the benchmark of the link: `link_peer.py ROLE ROOT SITE [ADDRESS | WEIGHTS ROUNDS]`.

Roles: `echo`, an agent that answers with as many bytes as it is asked for; `site`, an agent that takes part
in a run; `link`; `raw`, a client of raw gRPC. Each ends when its standard input closes.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from link_federation import Parties, TrivialTrainer, adapter_of, contract_of, plan_of

from sealora.client.site_folder import SiteFolder
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled

HEAD_BYTES = 9
"""Of a request to `echo`: one byte that says that it may take long, then the reply's size."""


def serve(folder: SiteFolder, handle: Callable[[bytes], bytes]) -> None:
    """An agent."""
    from sealora.client.agent import Agent
    from sealora.client.socket_place import SocketPlace

    agent, place = Agent(folder.name, handle, Log("agent")), SocketPlace(folder.path / "agent.sock")
    asyncio.run(until_signalled(agent.run(place), supervised=True))


def echo(folder: SiteFolder) -> None:
    serve(folder, lambda request: b"\x01" * int.from_bytes(request[1:HEAD_BYTES], "big"))


def site(folder: SiteFolder, weights: int, rounds: int) -> None:
    """As `sealora site agent`, with the same files and logs, but no model."""
    from sealora.client.attempt_file import AttemptFile
    from sealora.client.audited import Audited
    from sealora.client.memory import SiteMemory
    from sealora.client.pinned_roster import PinnedRoster
    from sealora.client.site import Site
    from sealora.models.task import Example
    from sealora.protocol.admission import Membership
    from sealora.protocol.secure_site import SecureSiteHalf

    contract, first = contract_of(plan_of(rounds)), adapter_of(weights)
    with ExitStack() as stack:
        attempts = stack.enter_context(AttemptFile(folder.path / "attempts.jsonl", folder.public))
        audit = stack.enter_context(folder.audit_log())
        member = Membership(folder.name, folder.identity(None), PinnedRoster(folder).current())
        worker = Site(
            folder.name,
            contract,
            TrivialTrainer(first.layout),
            first.tensors,
            SimpleNamespace(train=[Example((1,), 0)] * 10, test=[Example((1,), 0)]),  # type: ignore[arg-type]
            SiteMemory(folder.path / "memory"),
            lambda opening: SecureSiteHalf(opening, member, attempts.log),
        )
        serve(folder, Audited(worker.handle, audit))


def link(folder: SiteFolder, address: str) -> None:
    from sealora.client.link import Link, LinkSettings

    settings = LinkSettings(
        address, folder.path / "agent.sock", lambda: folder.credentials(None, datetime.now(UTC))
    )
    asyncio.run(until_signalled(Link(settings, Log("link")).run(), supervised=True))


def raw(folder: SiteFolder, address: str) -> None:
    from link_raw import answer

    credentials = folder.credentials(None, datetime.now(UTC))
    asyncio.run(until_signalled(answer(address, credentials, folder.name), supervised=True))


def main(role: str, root: str, name: str, *rest: str) -> None:
    folder = Parties(Path(root), ()).site(name)
    if role == "echo":
        echo(folder)
    elif role == "site":
        site(folder, int(rest[0]), int(rest[1]))
    else:
        {"link": link, "raw": raw}[role](folder, rest[0])


if __name__ == "__main__":
    main(*sys.argv[1:])

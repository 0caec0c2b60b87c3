"""A process of the benchmark of the link: `link_peer.py ROLE ROOT SITE [ADDRESS | WEIGHTS ROUNDS]`.

Roles: `echo`, an agent that answers with as many bytes as it is asked for; `site`, an agent that takes part
in a run; `link`; `raw`, a client of raw gRPC; `relay` and `sink`, the two processes of another. Each ends
when its standard input closes.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from link_federation import Parties, site_of

from sealora.client.site_folder import SiteFolder
from sealora.plan.allocator import keep_freed_memory
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
    with ExitStack() as stack:
        serve(folder, site_of(folder, weights, rounds, stack))


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


def relay(folder: SiteFolder, address: str) -> None:
    from link_floor import relay as run

    credentials = folder.credentials(None, datetime.now(UTC))
    work = run(address, credentials, folder.name, sink_path(folder))
    asyncio.run(until_signalled(work, supervised=True))


def sink_path(folder: SiteFolder) -> Path:
    return folder.path / "sink.sock"


def main(role: str, root: str, name: str, *rest: str) -> None:
    folder = Parties(Path(root), ()).site(name)
    if role in ("echo", "site", "link"):
        keep_freed_memory()  # as the command of each half does
    if role == "echo":
        echo(folder)
    elif role == "site":
        site(folder, int(rest[0]), int(rest[1]))
    elif role == "sink":
        from link_floor import sink

        sink(sink_path(folder))
    else:
        {"link": link, "raw": raw, "relay": relay}[role](folder, rest[0])


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`sealora site run`, and its two halves `agent` and `link`: take part in a run."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from sealora.cli.enrolment import HERE, SiteDir, utc_now
from sealora.cli.passphrase import VARIABLE, PassphraseFile, passphrase_for
from sealora.client.site_folder import SiteFolder
from sealora.plan.allocator import keep_freed_memory
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled

PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan that was approved here.")]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]
SocketPath = Annotated[
    Path | None, typer.Option(help="The agent's Unix socket; by default agent.sock in the site's folder.")
]
SocketGroup = Annotated[
    str,
    typer.Option(help="A group whose members may connect to the socket: for a link that is another user."),
]
MetricsPort = Annotated[
    int, typer.Option(min=-1, max=65535, help="Loopback port for Prometheus and /health; -1 for none.")
]


def run(
    plan: PlanPath,
    folder: SiteDir = HERE,
    metrics_port: MetricsPort = -1,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Take part in a run of an approved plan, until Ctrl-C.

    Two processes are started: the agent, with data, model and identity key and without network, and the
    link, which dials the coordinator. Where one is killed the other waits for it. Logs are JSON lines
    on standard error.

    Example: sealora site run plan.toml --dir ams
    """
    from sealora.client.supervisor import Supervisor

    site = SiteFolder.open(folder)
    if passphrase_file is None and (given := passphrase_for(site.identity_path, None)) is not None:
        os.environ[VARIABLE] = given.decode()  # asked for once, for both halves
    options = ["--dir", str(folder), "--supervised"]
    options += ["--passphrase-file", str(passphrase_file)] if passphrase_file is not None else []
    commands = {
        "agent": _command("agent", str(plan), *options),
        "link": _command("link", *options, "--metrics-port", str(metrics_port)),
    }
    supervisor = Supervisor(commands, Log("supervisor"))
    code = asyncio.run(until_signalled(supervisor.run()))
    raise typer.Exit(code or supervisor.code)


def agent(
    plan: PlanPath,
    folder: SiteDir = HERE,
    socket: SocketPath = None,
    socket_group: SocketGroup = "",
    passphrase_file: PassphraseFile = None,
    supervised: Supervised = False,
) -> None:
    """The half of a site that has the data, the model and the identity key. It uses no network."""
    from sealora.client.socket_place import SocketPlace

    keep_freed_memory()
    site, log = SiteFolder.open(folder), Log("agent")
    place = SocketPlace.of(socket or _socket(site), socket_group)
    identity = site.identity(passphrase_for(site.identity_path, passphrase_file))
    log("starting", plan=plan)
    # Imported here because torch takes seconds, and a wrong passphrase should not.
    from sealora.client.agent import Agent
    from sealora.client.agent_figures import Counted
    from sealora.client.attempt_file import AttemptFile
    from sealora.client.audited import Audited
    from sealora.client.request_size import largest_request
    from sealora.client.workplace import attempts_path, open_site
    from sealora.plan.loader import load

    with AttemptFile(attempts_path(site), site.public) as attempts, site.audit_log() as audit:
        worker = open_site(site, load(plan), identity, attempts)
        handle = Counted(Audited(worker.handle, audit), place)
        half = Agent(site.name, handle, log, largest_request(worker.contract, worker.trainer.layout))

        async def work() -> None:
            await half.run(place)

        code = asyncio.run(until_signalled(work(), supervised))
    # A training that goes on in a thread would keep the interpreter from ending.
    sys.stderr.flush()
    os._exit(code)


def link(
    folder: SiteDir = HERE,
    socket: SocketPath = None,
    metrics_port: MetricsPort = -1,
    passphrase_file: PassphraseFile = None,
    supervised: Supervised = False,
) -> None:
    """The half of a site that dials the coordinator. It needs the TLS key and the bundle, and no data."""
    from sealora.client.agent_figures import figures_path
    from sealora.client.link import Link, LinkSettings
    from sealora.plan.metrics_endpoint import MetricsEndpoint

    keep_freed_memory()
    site, log = SiteFolder.open(folder), Log("link")
    host, port = site.address()
    key = site.tls_key_path(site.certificate(utc_now()).tls_key)
    passphrase = passphrase_for(key, passphrase_file)
    settings = LinkSettings(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        socket or _socket(site),
        lambda: site.credentials(passphrase, utc_now()),
    )
    half = Link(settings, log)
    with ExitStack() as stack:
        if metrics_port >= 0:
            agents = figures_path(settings.socket)
            endpoint = stack.enter_context(
                MetricsEndpoint(
                    metrics_port, lambda: half.figures.exposition(agents), lambda: half.figures.trouble
                )
            )
            log("metrics", port=endpoint.port)
        code = asyncio.run(until_signalled(half.run(), supervised))
    raise typer.Exit(code)


def _socket(site: SiteFolder) -> Path:
    return site.path / "agent.sock"


def _command(half: str, *arguments: str) -> Sequence[str]:
    """The command that starts a half with this very installation."""
    return [sys.executable, "-m", "sealora", "site", half, *arguments]

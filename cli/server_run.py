"""`sealora server run`, `status` and `stop`: a run over partner sites."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from sealora.cli.enrolment import HERE, AsJson, ServerDir
from sealora.cli.passphrase import PassphraseFile, passphrase_for
from sealora.plan.allocator import keep_freed_memory
from sealora.plan.loader import load
from sealora.plan.logs import Log
from sealora.protocol.errors import RefusedError, RunError
from sealora.server.federation_folder import FederationFolder

StatePath = Annotated[Path, typer.Argument(metavar="STATE", help="The folder of `server run --state`.")]
POLL_SECONDS = 0.1


class Stopped(BaseException):
    """SIGTERM came. What is finished is on disk, whatever was being done."""


def run(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")],
    state: Annotated[Path, typer.Option(help="Folder of the run; the same one goes on with it.")],
    folder: ServerDir = HERE,
    listen: Annotated[
        str, typer.Option(help="ADDRESS:PORT to listen on; by default the federation's port on loopback.")
    ] = "",
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for sites that have gone, once all others answered.")
    ] = 60.0,
    answer_within: Annotated[
        float, typer.Option(min=1, help="Seconds for answers that need no training.")
    ] = 300.0,
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="Loopback port for Prometheus and /health; -1 for none.")
    ] = -1,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Coordinate a run over the federation's sites, until its last round.

    Start it again with the same --state after a crash or a stop: it goes on where it was, and the sites
    reconnect by themselves. Logs are JSON lines on standard error.

    Example: sealora server run plan.toml --dir registry --state runs/stroke
    """
    keep_freed_memory()
    federation, log = FederationFolder.open(folder), Log("coordinator")
    passphrase = passphrase_for(federation.identity_path, passphrase_file)
    loaded = load(plan)
    # Imported here because torch and transformers take seconds, and a wrong option should not.
    from sealora.coordinate import coordinate
    from sealora.server.grpc_fleet import FleetSettings
    from sealora.simulation.report import final_table

    settings = FleetSettings(listen or _loopback(federation), patience, answer_within)
    with _stoppable():
        done = coordinate(
            loaded, federation, state, settings, log, passphrase, None if metrics_port < 0 else metrics_port
        )
    if as_json:
        print(json.dumps(done.result, indent=2))
    else:
        from rich.console import Console

        Console(highlight=False).print(final_table(done.result))
        print(f"Adapter: {done.adapter_path}")
    if done.result["stopped"]:
        raise typer.Exit(RefusedError.exit_code)


def status(state: StatePath, as_json: AsJson = False) -> None:
    """Say where a run stands: rounds, phase, and which sites are connected."""
    from sealora.server.status import read_status

    found = read_status(state)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for line in _lines(found):
        print(line)


def stop(
    state: StatePath,
    seconds: Annotated[float, typer.Option(min=0, help="How long to wait for its end.")] = 30.0,
) -> None:
    """Stop a run's coordinator. The run is kept, and goes on when it is started again."""
    from sealora.server.state_lock import owner

    process = owner(state)
    if process is None:
        print(f"No coordinator works on {state}.")
        return
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while owner(state) is not None:
        if time.monotonic() > deadline:
            raise RunError(
                f"process {process} has not ended in {seconds:g} seconds.", "Kill it: nothing is lost."
            )
        time.sleep(POLL_SECONDS)
    print(f"Stopped process {process}.")


def _loopback(federation: FederationFolder) -> str:
    """The federation's port, on this machine only: to listen to the world is the operator's decision."""
    from sealora.protocol.enrolment import split_address

    return f"127.0.0.1:{split_address(federation.card.address)[1]}"


def _lines(found: dict[str, Any]) -> Iterator[str]:
    process = f" (process {found['process']})" if found["process"] else ""
    yield f"{found['state']}{process}, {found.get('done', 0)} of {found.get('rounds', '?')} rounds done"
    if found["state"] == "running" and {"round", "attempt", "phase", "answered", "asked"} <= found.keys():
        yield (
            f"round {found['round']}, attempt {found['attempt']}, phase {found['phase']}: "
            f"{found['answered']} of {found['asked']} sites answered"
        )
    if {"connected", "absent"} <= found.keys():
        yield f"connected: {', '.join(found['connected']) or 'none'}"
        yield f"absent: {', '.join(found['absent']) or 'none'}"
    if found["state"] == "running" and found.get("lacking") and found.get("until"):
        left = datetime.fromisoformat(found["until"]) - datetime.now(UTC)
        yield f"waiting for {found['lacking']} more sites, {max(0, left.total_seconds()):.0f} seconds left"
    if found.get("stopped"):
        yield str(found["stopped"])
    for name, value in (found.get("metrics") or {}).items():
        yield f"{name}: {value if value is None else format(value, '.4f')}"


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the process as cleanly as Ctrl-C does, with exit code 0."""

    def stopped(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stopped)
    try:
        yield
    except Stopped:
        print("Stopped. The run is kept: start it again with the same --state.", file=sys.stderr)
        raise typer.Exit(0) from None
    finally:
        signal.signal(signal.SIGTERM, before)

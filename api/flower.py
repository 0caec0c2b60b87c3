"""Runs as Flower apps: what an app's ServerApp and ClientApp need, so that `flwr run` runs a plan.

import sealora.flower

app = ServerApp()

@app.main()
def main(grid, context):
    sealora.flower.serve(grid, "plan.toml", "runs/first")

The app's ClientApp is `sealora.flower.client_app`. Needs the extra `simulation`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flwr.serverapp import Grid
from rich.console import Console

from sealora.plan.loader import Plan, load
from sealora.protocol.fleet import Fleet
from sealora.run import Run
from sealora.simulation.faults import Faults
from sealora.simulation.federation import Federation
from sealora.simulation.flower_client import app as client_app
from sealora.simulation.flower_fleet import FlowerFleet
from sealora.simulation.flower_grid import GridDesk, reply_limit
from sealora.simulation.simulate import simulate

__all__ = ["client_app", "serve"]

NODES_AN_ACTOR = 16
"""Nodes of an app that one of Flower's actors may have to work for in turn, before a reply counts as lost."""


def serve(
    grid: Grid,
    plan: Plan | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> Run:
    """Run a plan over the nodes of a Flower simulation; returns the finished run.

    The sites are the plan's, however many nodes there are: a node works for any of them, and as many
    sites work at the same time as there are nodes. Coordinator, sessions, keys and ledgers are in this
    process. Parameters and errors are those of `sealora.simulate`.
    """

    @contextmanager
    def fleet_of(federation: Federation, faults: Faults, tell: Callable[[str], None]) -> Iterator[Fleet]:
        desk = GridDesk(grid, reply_limit(federation.plan, NODES_AN_ACTOR))
        try:
            yield FlowerFleet(federation.sites, federation.plan, desk, faults)
        finally:
            desk.stop()

    plan = plan if isinstance(plan, Plan) else load(plan)
    # Where the nodes compute is Flower's affair here.
    plan = plan.replace(simulation={"engine": "local"})
    simulate(plan, Path(out), resume=resume, console=console, fleet_of=fleet_of)
    return Run.load(out)

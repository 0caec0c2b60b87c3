"""Where simulated sites train: in this process, or on Ray through Flower, which are optional packages."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec

from sealora.plan.settings import PlanSettings
from sealora.protocol.errors import UsageError
from sealora.protocol.fleet import Fleet
from sealora.simulation.faults import Faults
from sealora.simulation.federation import Federation
from sealora.simulation.fleet import InProcessFleet

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""Neither Flower nor Ray asks or reports anything anywhere. To be set before either is imported."""

OpenFleet = Callable[[Federation, Faults, Callable[[str], None]], AbstractContextManager[Fleet]]
"""Opens a fleet for a federation's sites; is told of faults, and tells what it does."""


def require_engine(plan: PlanSettings) -> None:
    """Raises UsageError if the plan's engine is not installed; to be called before anything is loaded."""
    if plan.simulation.engine == "local":
        return
    os.environ.update(QUIET)
    for package in ("flwr", "ray"):
        if find_spec(package) is None:
            raise UsageError(
                f"the engine Ray needs the package {package}, which is not installed.",
                'Install it with: pip install "sealora[simulation]", or simulate with --engine local.',
            )


@contextmanager
def open_fleet(federation: Federation, faults: Faults, tell: Callable[[str], None]) -> Iterator[Fleet]:
    """The fleet of the plan's engine; what was started for it has ended when this returns.

    Raises UsageError as `require_engine` and `ray_engine` do.
    """
    plan, trainer = federation.plan, federation.trainer
    require_engine(plan)
    if plan.simulation.engine == "local":
        handlers = {name: site.handle for name, site in federation.sites.items()}
        yield InProcessFleet(handlers, faults, trainer.workers, trainer.stop)
        return
    # Imported here because both are optional, and take seconds.
    from sealora.simulation.flower_fleet import FlowerFleet
    from sealora.simulation.ray_engine import ray_engine

    tell("Starting Ray")
    with ray_engine(plan) as desk:
        yield FlowerFleet(federation.sites, plan, desk, faults)

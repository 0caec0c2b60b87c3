"""Starts Ray and Flower's simulation on it, lends out the grid, and stops all of it again."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import ray
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from sealora.plan.settings import PlanSettings
from sealora.plan.workers import simulated_workers
from sealora.protocol.errors import RunError, UsageError
from sealora.simulation.closed_ray import closed_ray, require_closed
from sealora.simulation.engines import QUIET
from sealora.simulation.flower_client import app
from sealora.simulation.flower_grid import GridDesk, reply_limit
from sealora.simulation.ray_processes import await_end, ray_processes

Resources = dict[str, Any]
SILENT: Resources = {
    "logging_level": logging.ERROR,
    "log_to_driver": False,
    "runtime_env": {"env_vars": QUIET},
}
NODES_PER_ACTOR = 4
"""Flower hands each of its nodes one message every tenth of a second, so an actor needs several."""
RETRIES = 3
"""How often Ray does work again whose actor died."""
START_SECONDS = 120.0
WORK_SECONDS = 5.0
"""How long the engine may take to end by itself."""


@contextmanager
def ray_engine(plan: PlanSettings) -> Iterator[GridDesk]:
    """A desk at which work on sites' rows can be asked for. Ray starts here or is met at an address.

    Raises UsageError if Ray runs here already, cannot be met, or no actor fits the cluster.
    Whatever happens inside, Ray and Flower have ended when this returns.
    """
    if ray.is_initialized():
        raise UsageError(
            "Ray is running in this process already, and this run would stop it.",
            "Call ray.shutdown() before, and name a cluster by simulation.ray_address.",
        )
    # Ray tells of lost workers on standard output, which is the result's.
    with redirect_stdout(sys.stderr), _ray(plan), _flower(plan, _actors(plan)) as desk:
        yield desk


def actor_cpus(plan: PlanSettings) -> float:
    """Cores that one actor reserves."""
    return plan.simulation.actor_cpus or plan.training.threads


@contextmanager
def _ray(plan: PlanSettings) -> Iterator[None]:
    """Ray, met at the plan's address or started for this user alone, until its end."""
    address = plan.simulation.ray_address
    with nullcontext() if address else closed_ray() as folder:
        try:
            if folder is None:
                _meet_ray(address)
            else:
                _start_ray(plan, folder)
            yield
        finally:
            _stop_ray()


def _meet_ray(address: str) -> None:
    try:
        ray.init(address=address, **SILENT)
    except (ConnectionError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:120]
        raise UsageError(
            f"there is no Ray cluster at {address} ({why}).",
            "Start one with `ray start --head`, or leave simulation.ray_address out.",
        ) from None


def _start_ray(plan: PlanSettings, folder: Path) -> None:
    cores = max(1, round(simulated_workers(plan) * actor_cpus(plan)))
    try:
        ray.init(num_cpus=cores, include_dashboard=False, _temp_dir=str(folder), **SILENT)
    except (
        Exception
    ) as error:  # Ray raises plain ones, for instance where a busy machine starts it too slowly
        why = " ".join(str(error).split())[:120]
        raise RunError(f"Ray did not start ({why}).", "Try again, or simulate with --engine local.") from None
    require_closed()


def _actors(plan: PlanSettings) -> int:
    """Actors that fit the cluster, machine by machine, as Flower makes them. Raises UsageError for none."""
    cpus, gpus = actor_cpus(plan), plan.simulation.actor_gpus
    actors = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        here = node["Resources"]
        fits = int(here.get("CPU", 0) / cpus)
        actors += min(fits, int(here.get("GPU", 0) / gpus)) if gpus else fits
    if not actors:
        raise UsageError(
            f"no machine of the Ray cluster has {cpus:g} cores" + (f" and {gpus:g} GPUs." if gpus else "."),
            "Lower simulation.actor_cpus or actor_gpus.",
        )
    return actors


@contextmanager
def _flower(plan: PlanSettings, actors: int) -> Iterator[GridDesk]:
    """Flower's simulation in a thread of its own; its server app only lends its grid."""
    grids: SimpleQueue[Grid] = SimpleQueue()
    done = threading.Event()
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        grids.put(grid)
        done.wait()

    resources: Resources = {
        "num_cpus": actor_cpus(plan),
        "num_gpus": plan.simulation.actor_gpus,
        # Flower passes these on to Ray as they are; without them a dead actor would stay dead.
        "max_restarts": -1,
        "max_task_retries": RETRIES,
    }
    engine = threading.Thread(
        target=_simulate, args=(server, actors * NODES_PER_ACTOR, resources), name="flower", daemon=True
    )
    engine.start()
    desk: GridDesk | None = None
    try:
        limit = reply_limit(plan, NODES_PER_ACTOR)
        desk = GridDesk(_first(grids, engine), limit, engine.is_alive)
        yield desk
    finally:
        started = ray_processes()  # Flower stops Ray, too, and then they cannot be found any more
        if desk is not None:
            desk.stop()
        done.set()
        _end(engine)
        await_end(started, WORK_SECONDS)


def _simulate(server: ServerApp, nodes: int, resources: Resources) -> None:
    """Flower's engine, from its start to its end. Its log would be a second account of the run."""
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    run_simulation(
        server_app=server,
        client_app=app,
        num_supernodes=nodes,
        backend_config={"client_resources": resources, "init_args": {}, "actor": {"tensorflow": 0}},
    )


def _first(grids: SimpleQueue[Grid], engine: threading.Thread) -> Grid:
    """The grid, once the server app runs. Raises RunError if the engine ends before."""
    waited = 0.0
    while waited < START_SECONDS and engine.is_alive():
        try:
            return grids.get(timeout=0.1)
        except Empty:
            waited += 0.1
    raise RunError("Flower's simulation engine did not start.", "Try `ray start --head` to see why.")


def _end(engine: threading.Thread) -> None:
    """Wait for the engine; work that is still going on in actors ends with Ray."""
    engine.join(WORK_SECONDS)
    ray.shutdown()
    engine.join(START_SECONDS)


def _stop_ray() -> None:
    """Returns when all of Ray that was started here has ended. At an address only this run's actors end."""
    started = ray_processes()
    ray.shutdown()
    await_end(started, WORK_SECONDS)

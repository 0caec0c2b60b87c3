"""Whole attempts of Flower's SecAgg+ in its own simulation engine, which runs on Ray, for comparison.

    python benchmarks/flower_engine.py SITES WEIGHTS RANGE THRESHOLD

runs one attempt for each line that it reads, and prints its seconds, from the workflow's start to its mean.
The engine, its clients' processes and their imports are there from the first attempt on. It is a program of
its own because Ray is: nothing of it is left when it ends. `secure_flower.py` starts it.
"""

import os
import sys
import time
from functools import lru_cache
from typing import Any

os.environ |= {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

import numpy as np
from flower_secagg import EXAMPLES, FirstResult
from flwr.app import ConfigRecord, Context
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import ndarrays_to_parameters
from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord
from flwr.server import Grid, ServerApp, SimpleClientManager
from flwr.server.compat.app_utils import start_update_client_manager_thread
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.simulation import run_simulation
from numpy.typing import NDArray

CORES = 2


@lru_cache
def update_of(site: int, weights: int, bound: float) -> NDArray[np.float32]:
    """A site's update, kept in its process between attempts."""
    return np.random.default_rng(site).uniform(-bound, bound, weights).astype(np.float32)


class Ready(NumPyClient):
    """A client that has trained already."""

    def __init__(self, update: NDArray[np.float32]) -> None:
        self._update = update

    def fit(self, parameters: Any, config: Any) -> tuple[list[NDArray[np.float32]], int, dict[str, Any]]:
        return [self._update], EXAMPLES, {}


def client(weights: int, bound: float) -> ClientApp:
    """Eight of these run in two processes, as Flower's engine does it on two cores."""

    def make(context: Context) -> Any:
        return Ready(update_of(int(context.node_config["partition-id"]), weights, bound)).to_client()

    return ClientApp(client_fn=make, mods=[secaggplus_mod])


def server(sites: int, weights: int, bound: float, threshold: int) -> ServerApp:
    """Runs an attempt whenever it is asked to, and checks the mean."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        manager = SimpleClientManager()
        _, stop, ready = start_update_client_manager_thread(grid, manager)
        ready.wait()
        strategy = FirstResult(fraction_fit=1.0, min_fit_clients=sites, min_available_clients=sites)
        legacy = LegacyContext(context, strategy=strategy, client_manager=manager)
        model = parameters_to_arrayrecord(ndarrays_to_parameters([np.zeros(1, np.float32)]), True)
        expected = np.mean([update_of(site, weights, bound) for site in range(sites)], axis=0)
        for number, _ in enumerate(sys.stdin, start=1):
            legacy.state.array_records[MAIN_PARAMS_RECORD] = model
            legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: number})
            started = time.perf_counter()
            SecAggPlusWorkflow(1.0, threshold, clipping_range=bound)(grid, legacy)
            seconds = time.perf_counter() - started
            (found,) = [array.numpy() for array in legacy.state.array_records[MAIN_PARAMS_RECORD].values()]
            if found.shape != expected.shape or np.abs(found - expected).max() > 2 * bound / 2**15:
                raise RuntimeError("Flower's mean is not that of the updates")
            print(f"seconds {seconds}", flush=True)
        stop.set()

    return app


def main(sites: int, weights: int, bound: float, threshold: int) -> None:
    run_simulation(
        server(sites, weights, bound, threshold),
        client(weights, bound),
        num_supernodes=sites,
        backend_config={
            "init_args": {"num_cpus": CORES, "include_dashboard": False, "log_to_driver": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )


if __name__ == "__main__":
    from flower_engine import main as run  # the clients' processes import its functions by this name

    run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))

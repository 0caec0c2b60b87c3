"""How many simulated sites this machine trains at the same time."""

import os

from sealora.plan.settings import PlanSettings


def simulated_workers(plan: PlanSettings) -> int:
    """The plan's number, or the cores that this process may use divided by the threads of one site."""
    return plan.simulation.workers or max(1, available_cores() // plan.training.threads)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Is federation worth it? Each site alone, and all data in one place, with equal passes over the rows."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealora.models.adapter import Tensors
from sealora.models.task import Example
from sealora.plan.durable import write_durably
from sealora.protocol.errors import RunError
from sealora.protocol.keystream import derive_key
from sealora.server.metrics_log import finite
from sealora.simulation.federation import Federation
from sealora.simulation.workers import run_all
from sealora.strategies.strategy import Start

POOLED = "all data"
"""No site has a space in its name."""


@dataclass(frozen=True)
class Comparison:
    """Metrics on all sites' test rows together: of each site's own model, and of the pooled one."""

    alone: dict[str, dict[str, float]]
    pooled: dict[str, float]


def compare(federation: Federation, folder: Path, tell: Callable[[str, int], None]) -> Comparison:
    """Train every site alone and all data pooled, as many epochs as the federation did.

    Finished trainings are kept in `folder`, so that an interrupted comparison goes on where it was.
    `tell` is given (what, its rows) after each training, from the thread that did it.
    """
    jobs: dict[str, Sequence[Example]] = {POOLED: federation.train_rows}
    jobs |= {name: site.data.train for name, site in federation.sites.items()}

    def work(name: str) -> dict[str, float]:
        metrics = _remembered(folder / f"{name}.json", federation, name, jobs[name])
        tell(name, len(jobs[name]))
        return metrics

    trainer = federation.trainer
    results = dict(run_all(work, list(jobs), trainer.workers, trainer.stop))
    pooled = results.pop(POOLED)
    return Comparison(results, pooled)


def _remembered(path: Path, federation: Federation, name: str, rows: Sequence[Example]) -> dict[str, float]:
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        if known["plan_hash"] == federation.plan.hash:
            return {key: float("nan") if value is None else value for key, value in known["metrics"].items()}
    metrics = _train_and_measure(federation, name, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, json.dumps({"plan_hash": federation.plan.hash, "metrics": finite(metrics)}).encode())
    return metrics


def _train_and_measure(federation: Federation, name: str, rows: Sequence[Example]) -> dict[str, float]:
    trainer, plan = federation.trainer, federation.plan
    names = [spec.name for spec in trainer.layout.of_kind("shared")]
    tensors: Tensors = federation.initial.tensors
    for number in range(1, plan.rounds.count + 1):
        seed = derive_key("sealora/v1/comparison", plan.seed, name, number)
        trained = trainer.train(Start(tensors), names, rows, number, seed)
        if not math.isfinite(trained.loss):
            raise RunError(f"training on {name} diverged.", "Lower training.learning_rate.")
        tensors = trained.tensors
    sums = trainer.evaluate(tensors, federation.test_rows)
    return federation.task.metrics({part: counts.astype(float) for part, counts in sums.items()})

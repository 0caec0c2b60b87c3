"""The result of a run over partner sites: what its coordinator saw, which is sums."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from sealora.models.adapter import Adapter
from sealora.models.task import Metrics
from sealora.plan.loader import Plan
from sealora.server.events import Evaluated
from sealora.server.metrics_log import finite
from sealora.server.recorder import Recorder
from sealora.strategies.registry import strategy_class

FORMAT = 1


def build_result(
    plan: Plan,
    task: Metrics,
    adapter: Adapter,
    recorder: Recorder,
    evaluated: Evaluated,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The content of result.json, with the keys that a simulation's has, where they mean something here."""
    history = recorder.history
    asked = max(sum(len(record.cohort) for record in history), 1)
    answered = max(sum(len(record.contributors) for record in history), 1)
    up, down = (sum(getattr(record, name) for record in history) for name in ("bytes_up", "bytes_down"))
    result = {
        "format": FORMAT,
        "name": plan.name,
        "plan_hash": plan.hash,
        "model_hash": plan.model_hash,
        "adapter_sha256": adapter.sha256(),
        "seed": plan.seed,
        "strategy": plan.strategy.name,
        "discloses": strategy_class(plan.strategy.name).card.discloses,
        "figures": [record.figures for record in history],
        "secure_aggregation": plan.secure_aggregation.enabled,
        "guarantee": history[-1].guarantee if history else "",
        "headline": task.headline,
        "better": task.better,
        "parameters": adapter.layout.parameters,
        "metrics": evaluated.metrics,
        "tables": evaluated.tables,
        "curve": [record.metrics for record in history] + [evaluated.metrics],
        "train_loss": [record.train_loss for record in history],
        "diverged": [record.diverged for record in history],
        "contributors": [record.contributors for record in history],
        "sites": {},
        "comparison": None,
        "bytes": {
            "up_total": up,
            "down_total": down,
            "up_per_site_and_round": up / answered,
            "down_per_site_and_round": down / asked,
        },
        "seconds_per_round": _phases(recorder),
        "stopped": recorder.stopped,
        "versions": dict(versions),
    }
    return {key: finite(value) for key, value in result.items()}


def _phases(recorder: Recorder) -> dict[str, float]:
    """Mean seconds of each phase over the rounds."""
    phases = sorted({phase for record in recorder.history for phase in record.seconds})
    return {phase: fmean(record.seconds.get(phase, 0.0) for record in recorder.history) for phase in phases}

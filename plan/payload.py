"""What one site adds to the sum in one attempt: known to both sides from the plan alone."""

from sealora.models.adapter import AdapterLayout
from sealora.models.task import LOSS_UNITS, Metrics
from sealora.plan.settings import PlanSettings
from sealora.protocol.codec import Layout, Segment
from sealora.protocol.messages import Work
from sealora.strategies.strategy import Strategy

UPDATE = "update/"
METRIC = "metric/"
WEIGHT = "weight"
CLIPPED = "clipped"
TRAIN_LOSS = "train/loss"
TRAIN_ROWS = "train/rows"

MAX_TRAIN_ROWS = 2**32 - 1
MAX_TRAIN_LOSS = MAX_TRAIN_ROWS * LOSS_UNITS


def payload_layout(
    plan: PlanSettings,
    strategy: Strategy,
    task: Metrics,
    adapter: AdapterLayout,
    contributors: int,
    work: Work,
) -> Layout:
    """The segments of an upload: the strategy's parts, the weight, and the task's metric sums.

    An evaluation sends the metric sums only. With a privacy guarantee every figure about rows stays at
    the site, and only parts and (equal) weights are sent. Raises PlanError if the sum cannot be carried.
    """
    metrics = tuple(Segment(METRIC + part.name, part.length, part.bound, "count") for part in task.sums())
    if work == Work.EVALUATE:
        return Layout(metrics, contributors, plan.codec.value_bits)
    parts = tuple(
        Segment(UPDATE + part.name, part.length, plan.codec.range) for part in strategy.parts(adapter)
    )
    weight = (Segment(WEIGHT, 1, weight_units(plan), "count"),)
    if plan.privacy.private:
        return Layout(parts + weight, contributors, plan.codec.value_bits)
    figures = (
        Segment(CLIPPED, 1, 1, "count"),
        Segment(TRAIN_LOSS, 1, MAX_TRAIN_LOSS, "count"),
        Segment(TRAIN_ROWS, 1, MAX_TRAIN_ROWS, "count"),
    )
    return Layout(parts + weight + figures + metrics, contributors, plan.codec.value_bits)


def weight_units(plan: PlanSettings) -> int:
    """The integer that stands for a weight of 1: the cap on rows, or 1 if all sites count the same."""
    return 1 if plan.strategy.weighting == "uniform" else plan.strategy.weight_cap


def site_weight(plan: PlanSettings, rows: int) -> int:
    """A site's weight in units of `weight_units`: the rows that count, from 1 up to the cap, or 1."""
    return min(max(rows, 1), weight_units(plan))

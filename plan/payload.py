"""What one site adds to the sum in one attempt: known to both sides from the plan alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sealora.models.adapter import AdapterLayout
from sealora.models.task import LOSS_UNITS, Metrics
from sealora.plan.problems import did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.protocol.codec import Layout, Segment
from sealora.protocol.errors import PlanError, UsageError
from sealora.protocol.messages import Work
from sealora.strategies.strategy import Context, Part, Strategy

UPDATE = "update/"
METRIC = "metric/"
WEIGHT = "weight"
CLIPPED = "clipped"
TRAIN_LOSS = "train/loss"
TRAIN_ROWS = "train/rows"

MAX_TRAIN_ROWS = 2**32 - 1
MAX_TRAIN_LOSS = MAX_TRAIN_ROWS * LOSS_UNITS
MAX_TURNS = 1000
"""Rounds among which layouts that differ are sought."""


def round_context(
    plan: PlanSettings,
    strategy: Strategy,
    adapter: AdapterLayout,
    round_number: int,
    cohort: int,
    members: Sequence[str] = (),
    site: str = "",
) -> Context:
    """What a round of that number among that many sites is about; `adapter` is the model's, unmarked.

    `members` are the cohort's names; without them all are taken to have the largest rank. `site` is the one
    whose own view this is; empty for the coordinator's.
    """
    ranks = [plan.lora.ranks.get(name, adapter.rank) for name in members]
    return Context(
        strategy.layout(adapter, round_number),
        round_number,
        cohort,
        plan.seed,
        tuple(ranks),
        plan.lora.ranks.get(site, adapter.rank) if site else None,
    )


def require_known(plan: PlanSettings, sites: Sequence[str]) -> None:
    """Raises UsageError if the plan gives a rank to what is no site of the run."""
    for name in sorted(plan.lora.ranks.keys() - set(sites)):
        raise UsageError(
            f"lora.ranks names {name!r}, which is no site of this run.", did_you_mean(name, list(sites))
        )


def trained_layouts(
    plan: PlanSettings, strategy: Strategy, adapter: AdapterLayout
) -> tuple[AdapterLayout, ...]:
    """The layouts of the rounds, as far as they differ: a strategy may take turns, of any number.

    Of very long runs the first `MAX_TURNS` rounds are looked at.
    """
    rounds = range(1, 1 + min(plan.rounds.count, MAX_TURNS))
    return tuple(dict.fromkeys(strategy.layout(adapter, number) for number in rounds))


def simulated_members(plan: PlanSettings, sites: int) -> tuple[str, ...]:
    """Names of that many sites of a simulation, those of the largest ranks; none if they have others."""
    ranks = plan.lora.ranks
    named = sorted(plan.simulation.numbered, key=lambda name: -ranks.get(name, plan.lora.rank))
    return tuple(named[:sites]) if len(named) >= sites else ()


def payload_layout(
    plan: PlanSettings, strategy: Strategy, task: Metrics, context: Context, work: Work
) -> Layout:
    """The segments of an upload: the strategy's parts, the weight, and the task's metric sums.

    An evaluation sends the metric sums only. With a privacy guarantee figures about rows stay at the site,
    but for noised metrics, and only parts and (equal) weights are sent. Raises PlanError if the sum cannot
    be carried, or a part not be noised.
    """
    metrics = _metrics(plan, task)
    if work == Work.EVALUATE:
        return Layout(metrics, context.cohort, plan.codec.value_bits)
    parts = tuple(
        Segment(UPDATE + part.name, part.length, part_range(plan, part)) for part in strategy.parts(context)
    )
    weight = (Segment(WEIGHT, 1, weight_units(plan), "count"),)
    if plan.privacy.private:
        return Layout(parts + weight + metrics, context.cohort, plan.codec.value_bits)
    figures = (
        Segment(CLIPPED, 1, 1, "count"),
        Segment(TRAIN_LOSS, 1, MAX_TRAIN_LOSS, "count"),
        Segment(TRAIN_ROWS, 1, MAX_TRAIN_ROWS, "count"),
    )
    return Layout(parts + weight + figures + metrics, context.cohort, plan.codec.value_bits)


def part_range(plan: PlanSettings, part: Part) -> float:
    """Largest magnitude of one coordinate of a part, after weighting."""
    return plan.codec.range if part.range is None else part.range


def weight_units(plan: PlanSettings) -> int:
    """The integer that stands for a weight of 1: the cap on rows, or 1 if all sites count the same."""
    return 1 if plan.strategy.weighting == "uniform" else plan.strategy.weight_cap


def site_weight(plan: PlanSettings, rows: int) -> int:
    """A site's weight in units of `weight_units`: the rows that count, from 1 up to the cap, or 1."""
    return min(max(rows, 1), weight_units(plan))


def relative_weight(plan: PlanSettings, rows: int) -> float:
    """A site's weight in (0, 1]."""
    return site_weight(plan, rows) / weight_units(plan)


def _metrics(plan: PlanSettings, task: Metrics) -> tuple[Segment, ...]:
    """Exact sums, or noised ones raised by their bound so that they are not negative, or none."""
    if plan.privacy.private and plan.privacy.metrics != "noised":
        return ()
    unbounded = [part.name for part in task.sums() if not part.norm]
    if plan.privacy.private and unbounded:
        raise PlanError(
            f"the task does not bound what a row adds to {unbounded[0]!r}, so its metrics cannot be noised.",
            'Write metrics = "withheld" or "public" under [privacy].',
        )
    factor = 2 if plan.privacy.private else 1
    return tuple(
        Segment(METRIC + part.name, part.length, factor * part.bound, "count") for part in task.sums()
    )


def metric_sums(
    plan: PlanSettings, task: Metrics, sums: Mapping[str, NDArray[np.float64]], contributors: int
) -> dict[str, NDArray[np.float64]]:
    """The task's sum vector out of a decoded sum; noised parts may be negative."""
    offset = contributors if plan.privacy.private else 0
    return {part.name: sums[METRIC + part.name] - offset * part.bound for part in task.sums()}

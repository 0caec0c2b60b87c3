"""From a trained adapter to the words that a site adds to the sum: clip, weight, encode."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealora.models.task import LOSS_UNITS, Counts
from sealora.plan import payload as names
from sealora.plan.payload import part_range, relative_weight, site_weight
from sealora.plan.settings import PlanSettings
from sealora.protocol.codec import Layout, Words
from sealora.protocol.errors import RunError
from sealora.protocol.keystream import Keystream, derive_key
from sealora.strategies.strategy import Part, Payload, Trained

Vectors = Mapping[str, NDArray[np.floating[Any]]]
"""One vector for each part."""


@dataclass(frozen=True)
class LocalUpdate:
    """What a site's training came to, not yet scaled down, with all that its encoding depends on."""

    plan: PlanSettings
    layout: Layout
    """The session's segments."""
    parts: tuple[Part, ...]
    coded: Vectors = field(repr=False)
    """The upload, as it is rounded."""
    factors: Mapping[str, float]
    """By how much each part must be scaled down, see `clip`; 0 where nothing of it is sent."""
    trained: Trained = field(repr=False)
    counted_rows: int
    """The rows that decide the site's weight."""
    metrics: Mapping[str, Counts] = field(repr=False)
    """The task's sum vector of the model received: exact, noised or empty."""
    rounding: Keystream = field(repr=False)


def contribution(update: LocalUpdate) -> Words:
    """Encode one site's upload times its factors, with its weight, loss and metric sums.

    With a privacy guarantee, the upload, its weight (the same for all) and noised metrics, if there are
    any, are all that is encoded.
    """
    weight = relative_weight(update.plan, update.counted_rows)
    scaled = scale(update.parts, update.coded, weight, update.factors)
    return update.layout.encode(segments_of(update, scaled), update.rounding)


def segments_of(
    update: LocalUpdate, scaled: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.generic]]:
    """The payload by the names of its segments, of an upload that was scaled and weighted."""
    plan, trained, metrics = update.plan, update.trained, metric_segments(update.metrics)
    updates: dict[str, NDArray[np.generic]] = {names.UPDATE + name: vector for name, vector in scaled.items()}
    weights = {names.WEIGHT: np.array([site_weight(plan, update.counted_rows)])}
    if plan.privacy.private:
        return {**updates, **weights, **metrics}
    figures: dict[str, NDArray[np.generic]] = {
        names.CLIPPED: np.array([int(min(update.factors.values(), default=1.0) < 1.0)]),
        names.TRAIN_LOSS: np.array([_loss_units(trained.loss)]),
        names.TRAIN_ROWS: np.array([trained.rows]),
    }
    return {**updates, **weights, **figures, **metrics}


def counted_rows(plan: PlanSettings, targets: Sequence[Any]) -> int:
    """The rows that decide a site's weight.

    "contrasting" counts those outside the largest class, times K / (K − 1): all rows where K classes are
    equally frequent, none where there is one class only.
    """
    if plan.strategy.weighting != "contrasting":
        return len(targets)
    classes = len(plan.task.labels)
    outside = len(targets) - max(Counter(targets).values(), default=0)
    return outside * classes // (classes - 1)


def metric_segments(metrics: Mapping[str, Counts]) -> dict[str, NDArray[np.generic]]:
    """The task's sum vector under the names of its segments."""
    return {names.METRIC + name: counts for name, counts in metrics.items()}


def clip(
    plan: PlanSettings, parts: tuple[Part, ...], upload: Payload, coded: Vectors, weight: float
) -> dict[str, float]:
    """By how much each part must be scaled down, its group's direction kept, to stay within bounds.

    The bounds are the plan's L2 norm, joint over the parts of a group, and each part's range for what is
    rounded of it (`coded`), after weighting, all in float64. Returns factors in (0, 1] by part. Raises
    RunError if the upload holds NaN or infinity, which without a privacy guarantee comes here for no upload.
    """
    factors: dict[str, float] = {}
    for group in dict.fromkeys(part.group for part in parts):
        members = [part for part in parts if part.group == group]
        factor = _factor(plan, members, upload, coded, weight)
        factors |= dict.fromkeys([part.name for part in members], factor)
    return factors


def scale(
    parts: tuple[Part, ...], coded: Vectors, weight: float, factors: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    """The vectors as they are summed: scaled down, and weighted where they are."""
    return {
        part.name: coded[part.name].astype(np.float64) * (_weight(part, weight) * factors[part.name])
        for part in parts
    }


def _factor(
    plan: PlanSettings, parts: Sequence[Part], upload: Payload, coded: Vectors, weight: float
) -> float:
    """The factor of one group."""
    norm = math.sqrt(sum(float(np.square(upload[part.name], dtype=np.float64).sum()) for part in parts))
    if not math.isfinite(norm):
        raise RunError("the update is not finite.", "Lower training.learning_rate.")
    factor = min(1.0, plan.codec.clip / norm) if norm > 0 else 1.0
    scaled = factor
    for part in parts:
        # Multiplied in the order of `scale`, so that a peak within the range stays within it.
        peak = float(np.abs(coded[part.name]).max(initial=0)) * (_weight(part, weight) * factor)
        if peak > part_range(plan, part):
            scaled = min(scaled, factor * (part_range(plan, part) / peak * (1 - 1e-12)))
    return scaled


def _loss_units(loss: float) -> int:
    """The loss in units of 1/65536, at most the cap, which also stands for what is no number."""
    units = loss * LOSS_UNITS
    return round(max(units, 0.0)) if units < names.MAX_TRAIN_LOSS else names.MAX_TRAIN_LOSS


def _weight(part: Part, weight: float) -> float:
    return weight if part.weighted else 1.0


def rounding_key(seed: int, site: str, round_number: int) -> Keystream:
    """The random bits of stochastic rounding: the same in every session of a round, plain or secure."""
    return Keystream(derive_key("sealora/v1/rounding", seed, site, round_number))

"""From a trained adapter to the words that a site adds to the sum: clip, weight, encode."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealora.client.trainer import Trained
from sealora.models.task import LOSS_UNITS, Counts
from sealora.plan import payload as names
from sealora.plan.payload import site_weight, weight_units
from sealora.plan.settings import PlanSettings
from sealora.protocol.codec import Layout, Words
from sealora.protocol.errors import RunError
from sealora.protocol.keystream import Keystream, derive_key
from sealora.strategies.strategy import Part, Payload


def contribution(
    plan: PlanSettings,
    layout: Layout,
    parts: tuple[Part, ...],
    upload: Payload,
    trained: Trained,
    counted_rows: int,
    metrics: Mapping[str, Counts],
    rounding: Keystream,
) -> Words:
    """Encode one site's upload with its weight by `counted_rows`, its training loss and its metric sums.

    With a privacy guarantee, the upload, its weight (the same for all) and noised metrics, if there are
    any, are all that is encoded.
    Raises RunError if the upload holds NaN or infinity: the site refuses its own update.
    """
    weight = site_weight(plan, counted_rows)
    vectors, clipped = clip(plan, parts, upload, weight / weight_units(plan))
    updates = {names.UPDATE + name: vector for name, vector in vectors.items()}
    weights = {names.WEIGHT: np.array([weight])}
    if plan.privacy.private:
        return layout.encode({**updates, **weights, **metric_segments(metrics)}, rounding)
    figures: dict[str, NDArray[np.generic]] = {
        names.CLIPPED: np.array([int(clipped)]),
        names.TRAIN_LOSS: np.array([round(min(trained.loss * LOSS_UNITS, names.MAX_TRAIN_LOSS))]),
        names.TRAIN_ROWS: np.array([trained.rows]),
    }
    return layout.encode({**updates, **weights, **figures, **metric_segments(metrics)}, rounding)


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
    plan: PlanSettings, parts: tuple[Part, ...], upload: Payload, weight: float
) -> tuple[dict[str, NDArray[np.float64]], bool]:
    """Scale an upload down, its direction kept, to the plan's L2 norm and coordinate range.

    The L2 norm is joint over all parts, in float64. Returns the weighted vectors and whether
    anything was scaled down.
    """
    norm = np.sqrt(sum(float(np.square(vector, dtype=np.float64).sum()) for vector in upload.values()))
    if not np.isfinite(norm):
        raise RunError("the update is not finite.", "Lower training.learning_rate.")
    factor = min(1.0, plan.codec.clip / norm) if norm > 0 else 1.0
    weights = {part.name: weight if part.weighted else 1.0 for part in parts}
    # Multiplied in the order of the last line, so that a peak within the range stays within it.
    peaks = [
        float(np.abs(vector).max(initial=0)) * (weights[name] * factor) for name, vector in upload.items()
    ]
    if max(peaks, default=0.0) > plan.codec.range:
        factor *= plan.codec.range / max(peaks) * (1 - 1e-12)
    scaled = {name: vector.astype(np.float64) * (weights[name] * factor) for name, vector in upload.items()}
    return scaled, factor < 1.0


def rounding_key(seed: int, site: str, round_number: int) -> Keystream:
    """The random bits of stochastic rounding: the same in every session of a round, plain or secure."""
    return Keystream(derive_key("sealora/v1/rounding", seed, site, round_number))

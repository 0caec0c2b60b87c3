"""The figures of a comparison of strategies: means over the seeds, and Student's intervals."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from scipy import stats

FORMAT = 1
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Cell:
    """What one run of one strategy came to. Figures are None where it has none."""

    strategy: str
    """The contender's label."""
    seed: int
    failed: str = ""
    """Why the run did not come to its end."""
    headline: str = ""
    """The metric that counts."""
    metric: float | None = None
    """Its value on all sites' test rows together."""
    worst_site: float | None = None
    """The least value that one site has on its own test rows."""
    bytes_up: int | None = None
    """Of the whole run, all sites together."""
    bytes_down: int | None = None
    bytes_up_per_site_and_round: float | None = None
    bytes_down_per_site_and_round: float | None = None
    seconds: float | None = None
    """Wall-clock time of the rounds, all sites of which were trained on one machine."""
    adapter_sha256: str = ""
    curve: tuple[float | None, ...] = ()
    """The headline metric before each round, and at the end."""
    plain: bool = False
    """Whether the coordinator saw the update of every site."""

    def describe(self) -> str:
        """The cell in a line."""
        if self.failed:
            return f"seed {self.seed}: failed: {self.failed}"
        value = "withheld" if self.metric is None else f"{self.metric:.4f}"
        return f"seed {self.seed}: {self.headline} {value}, {self.seconds:.1f} s"


def finished_cell(label: str, result: Mapping[str, Any]) -> Cell:
    """The cell of a run, from the content of its result.json."""
    if result["stopped"]:
        return failed_cell(label, result["seed"], result["stopped"])
    headline, sent = result["headline"], result["bytes"]
    worst = max if result.get("better") == "lower" else min  # as results of earlier versions, without the key
    sites = [site["metrics"][headline] for site in result["sites"].values() if site["metrics"] is not None]
    return Cell(
        strategy=label,
        seed=result["seed"],
        headline=headline,
        metric=result["metrics"][headline],
        worst_site=worst((value for value in sites if value is not None), default=None),
        bytes_up=sent["up_total"],
        bytes_down=sent["down_total"],
        bytes_up_per_site_and_round=sent["up_per_site_and_round"],
        bytes_down_per_site_and_round=sent["down_per_site_and_round"],
        seconds=sum(result["seconds_per_round"].values()) * len(result["train_loss"]),
        adapter_sha256=result["adapter_sha256"],
        curve=tuple(metrics[headline] for metrics in result["curve"]),
        plain=not result.get("secure_aggregation", True),
    )


def failed_cell(label: str, seed: int, reason: str) -> Cell:
    """The cell of a run that did not come to its end."""
    return Cell(label, seed, failed=reason)


def interval(values: Sequence[float]) -> dict[str, float | int | None]:
    """Mean of the values and Student's 95 % interval for it; no interval from one, nothing from none."""
    count = len(values)
    mean = fmean(values) if count else None
    if mean is None or count < 2:
        return {"mean": mean, "low": None, "high": None, "seeds": count}
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stdev(values) / math.sqrt(count)
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": count}


def build_result(labels: Sequence[str], cells: Sequence[Cell], refused: Mapping[str, str]) -> dict[str, Any]:
    """The content of result.json; the first label is the base of the differences."""
    finished = [cell for cell in cells if not cell.failed]
    return {
        "format": FORMAT,
        "headline": next((cell.headline for cell in finished), ""),
        "base": labels[0],
        "seeds": sorted({cell.seed for cell in cells}),
        "confidence": CONFIDENCE,
        "strategies": [_strategy(label, labels[0], cells, refused.get(label, "")) for label in labels],
        "cells": [asdict(cell) for cell in cells],
    }


def _strategy(label: str, base: str, cells: Sequence[Cell], refused: str) -> dict[str, Any]:
    """A line of the table. Differences are within each seed that both finished."""
    own = {cell.seed: cell for cell in cells if cell.strategy == label and not cell.failed}
    other = {cell.seed: cell for cell in cells if cell.strategy == base and not cell.failed}
    pairs = [(own[seed], other[seed]) for seed in own if seed in other] if label != base else []
    return {
        "strategy": label,
        "plain": any(cell.plain for cell in own.values()),
        "refused": refused,
        "failed": {cell.seed: cell.failed for cell in cells if cell.strategy == label and cell.failed},
        "metric": interval(_known(own.values(), lambda cell: cell.metric)),
        "difference": interval(_differences(pairs, lambda cell: cell.metric)),
        "worst_site": interval(_known(own.values(), lambda cell: cell.worst_site)),
        "worst_site_difference": interval(_differences(pairs, lambda cell: cell.worst_site)),
        **{
            name: _mean([getattr(cell, name) for cell in own.values()])
            for name in (
                "bytes_up",
                "bytes_down",
                "bytes_up_per_site_and_round",
                "bytes_down_per_site_and_round",
                "seconds",
            )
        },
    }


Figure = Callable[[Cell], float | None]


def _known(cells: Any, figure: Figure) -> list[float]:
    return [value for cell in cells if (value := figure(cell)) is not None]


def _differences(pairs: Sequence[tuple[Cell, Cell]], figure: Figure) -> list[float]:
    values = [(figure(own), figure(base)) for own, base in pairs]
    return [own - base for own, base in values if own is not None and base is not None]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None

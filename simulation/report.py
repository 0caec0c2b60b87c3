"""The result of a run as JSON, as tables for people, and as a picture."""

import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sealora.models.adapter import Adapter
from sealora.server.events import Evaluated, RoundRecord
from sealora.server.metrics_log import finite
from sealora.simulation.account import account
from sealora.simulation.compare import Comparison
from sealora.simulation.federation import Federation
from sealora.simulation.split_picture import names_as_they_are

FORMAT = 1

CALLED = {"f1": "F1", "strict_f1": "strict F1", "macro_f1": "macro F1", "auroc": "AUROC"}
"""How metrics are called whose keys are not words."""


def build_result(
    federation: Federation,
    adapter: Adapter,
    history: Sequence[RoundRecord],
    evaluated: Evaluated,
    comparison: Comparison | None,
    versions: Mapping[str, str],
    run: str,
) -> dict[str, Any]:
    """The content of result.json; every figure was counted or measured in this run, whose id is `run`."""
    plan = federation.plan
    answers = sum(len(record.contributors) for record in history)
    result = {
        "format": FORMAT,
        "name": plan.name,
        "plan_hash": plan.hash,
        "model_hash": plan.model_hash,
        "adapter_sha256": adapter.sha256(),
        "seed": plan.seed,
        "strategy": plan.strategy.name,
        "discloses": federation.contract.strategy.card.discloses,
        "figures": [record.figures for record in history],
        "secure_aggregation": plan.secure_aggregation.enabled,
        "guarantee": history[-1].guarantee if history else "",
        "evaluation_guarantee": federation.sessions.guarantee if evaluated.contributors else "",
        "attackers": plan.simulation.attackers,
        "privacy": account(federation, run),
        "headline": federation.task.headline,
        "better": federation.task.better,
        "parameters": adapter.layout.parameters,
        "metrics": evaluated.metrics,
        "tables": evaluated.tables,
        "curve": [record.metrics for record in history] + [evaluated.metrics],
        "train_loss": [record.train_loss for record in history],
        "diverged": [record.diverged for record in history],
        "sites": {name: _site(federation, name, name in evaluated.contributors) for name in federation.sites},
        "comparison": None
        if comparison is None
        else {"alone": comparison.alone, "pooled": comparison.pooled},
        "bytes": {
            "up_total": sum(record.bytes_up for record in history),
            "down_total": sum(record.bytes_down for record in history),
            "up_per_site_and_round": sum(record.bytes_up for record in history) / max(answers, 1),
            "down_per_site_and_round": sum(record.bytes_down for record in history)
            / max(sum(len(record.cohort) for record in history), 1),
        },
        "seconds_per_round": _phases(history),
        "peak_rss_bytes": peak_rss(),
        "versions": dict(versions),
    }
    return {key: finite(value) for key, value in result.items()}


def peak_rss() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def final_table(result: Mapping[str, Any]) -> Group:
    """What a person wants to know at the end."""
    headline = result["headline"]
    kind = _kind(result)
    about = f" (metrics {kind})" if kind else ""
    title = Text(f"Result of {result['name']}{about}", style="table.title")  # a name is no markup
    table = Table(title=title, title_justify="left", caption_justify="left")
    keys = [headline, *(key for key in result["metrics"] if key not in (headline, "loss")), "loss"]
    table.add_column("model")
    for key in keys:
        table.add_column(_called(key), justify="right")
    for name, metrics in _rows(result):
        figures = [metrics.get(key) for key in keys]
        table.add_row(Text(name), *("–" if value is None else f"{value:.3f}" for value in figures))
    lines: list[RenderableType] = [table, _guarantee(result)]
    if warning := divergence(result):
        lines.append(Text(warning, style="bold red"))
    lines += [Text(line) for line in _products(result)]
    lines += [Text(line) for line in _privacy(result)]
    if verdict := worth_it(result):
        return Group(*lines, Text(verdict, style="bold"))
    return Group(*lines)


def _privacy(result: Mapping[str, Any]) -> list[str]:
    """What is promised about records, where the metrics come from, and why the run stopped early."""
    privacy = result.get("privacy")  # results of earlier versions have none
    if privacy is None:
        return []
    metrics = {
        "withheld": "Metrics on the sites' rows would be releases: they are withheld.",
        "public": "Metrics are those of the public hold-out.",
        "noised": "Metrics are noised, and of the rows that were trained on, as none are held out: expect "
        "less on other rows.",
    }
    spent = f"This run: ε = {privacy['epsilon']:.4g}."
    if privacy.get("runs", 1) > 1:
        spent += f" All {privacy['runs']} runs on these ledgers: ε = {privacy['epsilon_all_runs']:.4g}."
    lines = [privacy["statement"], spent, metrics[privacy["metrics"]]]
    if privacy["metrics"] == "noised" and all(value is None for value in result["metrics"].values()):
        lines.append("The budgets do not pay for those of the final model.")
    return [*lines, *filter(None, [result.get("stopped")])]


def _products(result: Mapping[str, Any]) -> list[str]:
    """What is disclosed beside sums of the adapters, and how well it was recovered from sketches."""
    errors = [figures["sketch_error"] for figures in result.get("figures", []) if "sketch_error" in figures]
    told = [f"Error of the mean product, estimated: at most {max(errors):.2%} in a round."] if errors else []
    return [line for line in (result.get("discloses", ""), *told) if line]  # earlier results have none


def _kind(result: Mapping[str, Any]) -> str:
    """What kind of metrics a private run shows: "withheld", "public" or "noised"; empty for exact ones."""
    privacy = result.get("privacy")  # results of earlier versions have none
    return "" if privacy is None else str(privacy["metrics"])


def _guarantee(result: Mapping[str, Any]) -> Text:
    """What the coordinator could not see; in red if that is nothing."""
    style = "" if result["secure_aggregation"] else "bold red"
    last = result.get("evaluation_guarantee")  # results of earlier versions have none
    other = f" In the final evaluation: {last}." if last and last != result["guarantee"] else ""
    return Text(f"Protection of single updates: {result['guarantee']}.{other}", style=style)


def divergence(result: Mapping[str, Any]) -> str:
    """What to know of trainings that came to nothing finite; empty where there were none."""
    counts = [count for count in result.get("diverged", []) if count]  # results of earlier versions have none
    if not counts:
        return ""
    return (
        f"Training diverged in {len(counts)} of {len(result['diverged'])} rounds, at up to {max(counts)} "
        "sites, which sent no change. Lower training.learning_rate."
    )


def worth_it(result: Mapping[str, Any]) -> str:
    """One sentence on what the sites gain by federating; empty without a comparison."""
    if result["comparison"] is None:
        return ""
    headline = result["headline"]
    federated = result["metrics"][headline]
    alone = [metrics[headline] for metrics in result["comparison"]["alone"].values()]
    sign, unit, factor = (-1, "", 1) if _falls(result) else (1, " points", 100)
    better = sum(sign * federated > sign * value for value in alone)
    above_mean = factor * (federated - fmean(alone))
    above_pooled = factor * (federated - result["comparison"]["pooled"][headline])
    return (
        f"Is federation worth it? Its {_called(headline)} is {above_mean:+.1f}{unit} against the mean site "
        f"alone, better than {better} of {len(alone)} sites' own models, and {above_pooled:+.1f}{unit} "
        f"against pooling all data{' (lower is better)' if _falls(result) else ''}."
    )


def _called(metric: str) -> str:
    return CALLED.get(metric, metric.replace("_", " "))


def _falls(result: Mapping[str, Any]) -> bool:
    """Whether the headline metric is one that should be small."""
    return bool(result.get("better") == "lower")  # results of earlier versions have only the other kind


def _from_worst(result: Mapping[str, Any], metrics: Mapping[str, Any]) -> float:
    """A key that sorts models by the headline metric, the worst first."""
    value = float(metrics[result["headline"]])
    return -value if _falls(result) else value


def save_learning_curve(path: Path, result: Mapping[str, Any]) -> None:
    """The headline metric by round, with the comparison's levels if there is one."""
    with names_as_they_are():
        _learning_curve(result).savefig(path, dpi=120)


def _learning_curve(result: Mapping[str, Any]) -> Figure:
    headline = result["headline"]
    # Withheld metrics leave gaps.
    curve = [float("nan") if m[headline] is None else m[headline] for m in result["curve"]]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(curve)), curve, marker="o", color="#1f5fa8", label="federated", zorder=3)
    if result["comparison"] is not None:
        alone = [metrics[headline] for metrics in result["comparison"]["alone"].values()]
        axes.axhspan(min(alone), max(alone), color="#c9c9c9", alpha=0.4, label="sites alone, worst to best")
        axes.axhline(fmean(alone), color="#707070", linestyle="--", label="mean site alone")
        axes.axhline(
            result["comparison"]["pooled"][headline], color="#2a7d3c", linestyle=":", label="all data pooled"
        )
    rows = {"public": "the public hold-out", "noised": "training rows, noised"}
    where = rows.get(_kind(result), "all sites' test rows")
    axes.set(xlabel="round", ylabel=f"{_called(headline)} on {where}", title=result["name"])
    axes.set_xticks(range(0, len(curve), max(1, len(curve) // 10)))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right" if _falls(result) else "lower right")
    return figure


def _rows(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows: list[tuple[str, Mapping[str, Any]]] = []
    if result["comparison"] is not None:
        ordered = sorted(result["comparison"]["alone"].items(), key=lambda item: _from_worst(result, item[1]))
        keys = ordered[0][1]
        means = {key: _mean([metrics[key] for _, metrics in ordered]) for key in keys}
        rows += [
            (f"alone, worst ({ordered[0][0]})", ordered[0][1]),
            ("alone, mean of sites", means),
            (f"alone, best ({ordered[-1][0]})", ordered[-1][1]),
        ]
    rows.append(("federated", result["metrics"]))
    sites = {name: site["metrics"] for name, site in result["sites"].items() if site["metrics"] is not None}
    if sites:
        worst = min(sites, key=lambda name: _from_worst(result, sites[name]))
        rows.append((f"federated, on its worst site ({worst})", sites[worst]))
    if result["comparison"] is not None:
        rows.append(("all data pooled", result["comparison"]["pooled"]))
    return rows


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that exist: a site whose test rows share one label has no AUROC."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _site(federation: Federation, name: str, evaluated: bool) -> dict[str, Any]:
    """`metrics` are the final model's, or None if this site did not take part in the final evaluation."""
    site = federation.sites[name]
    sums = {part: counts.astype(float) for part, counts in site.metrics.items()}
    return {
        "train_rows": site.data.sizes[0],
        "test_rows": site.data.sizes[1],
        "metrics": federation.task.metrics(sums) if evaluated and sums else None,
        "cleaning": site.data.report.to_dict(),
    }


def _phases(history: Sequence[RoundRecord]) -> dict[str, float]:
    """Mean seconds of each phase over the rounds."""
    phases = {phase for record in history for phase in record.seconds}
    return {phase: fmean(record.seconds.get(phase, 0.0) for record in history) for phase in sorted(phases)}

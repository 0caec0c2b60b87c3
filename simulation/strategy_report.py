"""A comparison of strategies as a table for people, as CSV and as a picture."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sealora.plan.durable import write_durably
from sealora.simulation.split_picture import COLOURS, names_as_they_are

NOTHING = "–"
INTERVALS = ("metric", "difference", "worst_site", "worst_site_difference")
MEANS = (
    "bytes_up",
    "bytes_down",
    "bytes_up_per_site_and_round",
    "bytes_down_per_site_and_round",
    "seconds",
)


def comparison_table(result: Mapping[str, Any]) -> Group:
    """A row for each strategy that finished a run, and a line for each refusal and failure."""
    headline, base = result["headline"], result["base"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("strategy", overflow="fold", min_width=14)
    for title in (headline, f"vs {base}", "worst site", "kB up", "down", "seconds"):
        table.add_column(Text(title), justify="right", no_wrap=True)
    for row in result["strategies"]:
        if row["seconds"] is not None:
            table.add_row(Text(_narrow(row["strategy"])), *_cells(row))
    seeds = result["seeds"]
    note = (
        f"Means over {len(seeds)} seeds ± half a 95 % interval (Student; differences are paired by seed). "
        "Bytes are of a site and round, seconds of a run's rounds with all sites on this machine."
        if len(seeds) > 1
        else "One seed: no interval, and chance can be larger than the differences."
    )
    return Group(table, Text(note), *_in_clear(result), *_together(result), *_left_out(result))


def _together(result: Mapping[str, Any]) -> Iterable[RenderableType]:
    cost = result.get("privacy")  # results of earlier versions have no such key
    if cost is not None:
        yield Text(
            f"All {cost['runs']} runs used the same rows: together they cost ε = {cost['epsilon']:.3g} at "
            f"δ = {cost['delta']:g} for each {cost['unit']}, also if only the best of them is told."
        )


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        _interval(row["metric"], ""),
        _interval(row["difference"], "+"),
        _interval({**row["worst_site"], "low": None}, ""),
        f"{row['bytes_up_per_site_and_round'] / 1e3:,.0f}",
        f"{row['bytes_down_per_site_and_round'] / 1e3:,.0f}",
        f"{row['seconds']:.0f}",
    ]


def _narrow(label: str) -> str:
    """A label with its keys on lines of their own, so that it fits a narrow column."""
    return label.replace(":", ":\n  ", 1).replace(",", "\n  ")


def _interval(estimate: Mapping[str, Any], sign: str) -> str:
    """`mean ± half`, as far as they are known."""
    if estimate["mean"] is None:
        return NOTHING
    mean = f"{estimate['mean']:{sign}.3f}"
    return mean if estimate["low"] is None else f"{mean} ± {estimate['high'] - estimate['mean']:.3f}"


def _in_clear(result: Mapping[str, Any]) -> Iterable[RenderableType]:
    """In red, as in the report of each run."""
    plain = [row["strategy"] for row in result["strategies"] if row.get("plain")]  # earlier results have none
    if plain:
        which = "these runs" if len(plain) == len(result["strategies"]) else f"the runs of {', '.join(plain)}"
        yield Text(f"Without masks: in {which} the coordinator saw the update of every site.", "bold red")


def _left_out(result: Mapping[str, Any]) -> Iterable[RenderableType]:
    for row in result["strategies"]:
        if row["refused"]:
            yield Text(f"{row['strategy']} is refused: {row['refused']}")
        for seed, reason in row["failed"].items():
            yield Text(f"{row['strategy']} failed with seed {seed}: {reason}")


def write_tables(result: Mapping[str, Any], folder: Path) -> None:
    """strategies.csv and cells.csv: the same figures as in result.json, for spreadsheets."""
    strategies = [_flat(row) for row in result["strategies"]]
    cells = [{key: value for key, value in cell.items() if key != "curve"} for cell in result["cells"]]
    for name, rows in (("strategies.csv", strategies), ("cells.csv", cells)):
        write_durably(folder / name, _csv(rows).encode())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    intervals = {
        f"{name}_{part}": value for name in INTERVALS for part, value in row[name].items() if part != "seeds"
    }
    return {
        "strategy": row["strategy"],
        "plain": row["plain"],
        "seeds": row["metric"]["seeds"],
        **intervals,
        **{name: row[name] for name in MEANS},
        "refused": row["refused"],
        "failed": "; ".join(f"seed {seed}: {reason}" for seed, reason in row["failed"].items()),
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def save_picture(path: Path, result: Mapping[str, Any]) -> None:
    """A PNG: each strategy's difference to the base with its interval, and mean learning curves."""
    rows = [row for row in result["strategies"] if row["metric"]["mean"] is not None]
    with names_as_they_are():
        figure = Figure(figsize=(12, max(4.0, 0.34 * len(rows) + 1.6)), dpi=120, layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_differences(left, rows, result)
        _draw_curves(right, rows, result)
        figure.savefig(path, format="png")


def _draw_differences(axes: Axes, rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> None:
    """Dots are single seeds; the bar is the interval of their mean."""
    base = {cell["seed"]: cell["metric"] for cell in result["cells"] if cell["strategy"] == result["base"]}
    for place, row in enumerate(rows):
        own = [cell for cell in result["cells"] if cell["strategy"] == row["strategy"]]
        dots = [
            cell["metric"] - base[cell["seed"]]
            for cell in own
            if cell["metric"] is not None and base.get(cell["seed"]) is not None
        ]
        axes.plot(dots, [place] * len(dots), "o", color="#9a9a9a", markersize=4)
        difference = row["difference"]
        if difference["low"] is not None:
            axes.plot([difference["low"], difference["high"]], [place, place], color=COLOURS[0], linewidth=3)
            axes.plot([difference["mean"]], [place], "D", color=COLOURS[0])
    axes.axvline(0, color="#707070", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["strategy"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"{result['headline']}: difference to {result['base']}, with 95 % interval")
    axes.grid(axis="x", alpha=0.3)


def _draw_curves(axes: Axes, rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> None:
    styles = ("-", "--", ":")
    for number, row in enumerate(rows):
        curves = [
            [float("nan") if value is None else value for value in cell["curve"]]
            for cell in result["cells"]
            if cell["strategy"] == row["strategy"] and not cell["failed"]
        ]
        means = [sum(values) / len(values) for values in zip(*curves, strict=False)]
        style = styles[number // len(COLOURS) % len(styles)]
        axes.plot(means, style, color=COLOURS[number % len(COLOURS)], label=row["strategy"])
    axes.set(xlabel="round", ylabel=f"{result['headline']}, mean over the seeds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if rows:
        axes.legend(fontsize="small")

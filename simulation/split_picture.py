"""Shows how a partition dealt the labels to sites: a table for terminals and a picture for files."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import datasets
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from sealora.models.labels import Labels

SiteCounts = Mapping[str, Mapping[str, int]]
"""Rows by site and label."""

COLOURS = (
    "#4477AA",
    "#EE6677",
    "#228833",
    "#CCBB44",
    "#66CCEE",
    "#AA3377",
    "#EE8866",
    "#44BB99",
    "#882255",
    "#999933",
)
"""Told apart by colour-blind readers too (after Paul Tol, "Colour schemes", 2021)."""
REST_COLOUR = "#BBBBBB"
REST = "other labels"
MISSING = "no label"
BAR_WIDTH = 24
"""Characters of the longest bar in the terminal."""
COUNTED_LABELS = 6
"""Most labels that have a column of their own in the terminal."""
NAMED_SITES = 24
"""Most sites whose names stand under their bars in the picture."""
DRAWN_SITES = 200
"""Most sites in the picture."""
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "WenQuanYi Zen Hei", "SimHei")
"""Fonts that have Latin and, where one of them is installed, Chinese letters."""


def label_counts(
    table: datasets.Dataset, sites: Mapping[str, Sequence[int]], column: str, labels: Labels
) -> dict[str, dict[str, int]]:
    """Rows of every site by label, before cleaning; a missing label counts as "no label"."""
    names = [labels.name(cell) or MISSING for cell in table[column]]
    return {site: dict(Counter(names[row] for row in rows)) for site, rows in sites.items()}


def split_table(counts: SiteCounts, labels: Sequence[str] = (), most_sites: int = 30) -> Table:
    """A row for each site: its rows, its rows by label, and a bar as long as its share.

    `labels` fixes the order of labels; by default they come as they are met.
    """
    names, matrix = _matrix(counts, labels, len(COLOURS))
    table = Table(
        title=f"Rows by site and label ({len(counts)} sites)", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("site", no_wrap=True)
    table.add_column("rows", justify="right")
    for name in names[:COUNTED_LABELS]:
        table.add_column(Text(name, style=_colours(names)[names.index(name)]), justify="right")
    table.add_column("share", no_wrap=True, min_width=BAR_WIDTH)
    largest = max(matrix.sum(axis=1).max(initial=0), 1)
    for site, row in list(zip(counts, matrix, strict=True))[:most_sites]:
        table.add_row(Text(site), *_cells(row), _bar(row, largest, _colours(names)))
    if len(counts) > most_sites:
        table.add_row(f"… {len(counts) - most_sites} more", *_cells(matrix[most_sites:].sum(axis=0)), "")
    table.add_section()
    table.add_row("all", *_cells(matrix.sum(axis=0)), _legend(names))
    return table


def save_split_picture(path: Path, counts: SiteCounts, labels: Sequence[str] = ()) -> None:
    """Write a PNG with every site's rows by label (above) and its mix of labels (below)."""
    names, matrix = _matrix(counts, labels, len(COLOURS))
    sites = list(counts)[:DRAWN_SITES]
    with names_as_they_are():
        figure = _figure(sites, names, matrix[: len(sites)], len(counts))
        figure.savefig(path, format="png")


@contextmanager
def names_as_they_are() -> Iterator[None]:
    """Draw names in any script, and a dollar in them as a dollar, not as the start of a formula."""
    installed = set(fontManager.get_font_names())
    fonts = [font for font in FONTS if font in installed]
    with warnings.catch_warnings(), mpl.rc_context({"font.family": fonts, "text.parse_math": False}):
        # A letter that no installed font has is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _figure(sites: Sequence[str], names: Sequence[str], matrix: NDArray[np.int64], total: int) -> Figure:
    width = min(max(6.4, 0.42 * len(sites)), 14.0)
    figure = Figure(figsize=(width, 5.4), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _stack(above, matrix, names)
    _stack(below, matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), names)
    above.set_ylabel("rows")
    above.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    above.yaxis.set_major_formatter("{x:,.0f}")
    below.set_ylabel("mix of labels")
    below.set_ylim(0, 1)
    below.yaxis.set_major_formatter("{x:.0%}")
    _name_sites(below, sites)
    shown = f"first {len(sites)} of {total:,} sites" if len(sites) < total else f"{total} sites"
    figure.suptitle(f"Rows by site and label: {shown}", x=0.01, ha="left", fontsize=12, fontweight="bold")
    handles = above.get_legend_handles_labels()
    columns = _legend_columns(names, width)
    figure.legend(
        *handles, loc="outside lower left", ncols=columns, frameon=False, handlelength=1, handleheight=1
    )
    return figure


def _stack(axes: Axes, matrix: NDArray[np.int64] | NDArray[np.float64], names: Sequence[str]) -> None:
    positions = np.arange(1, len(matrix) + 1)
    bottom = np.zeros(len(matrix))
    # Thin white edges part the labels of a few wide bars; between many narrow ones they would hide them.
    edge = 0.4 if len(matrix) <= NAMED_SITES else 0.0
    for name, colour, values in zip(names, _colours(names), matrix.T, strict=True):
        axes.bar(
            positions,
            values,
            bottom=bottom,
            width=0.82,
            color=colour,
            label=name,
            edgecolor="white",
            linewidth=edge,
        )
        bottom += values
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(0.4, len(matrix) + 0.6)


def _name_sites(axes: Axes, sites: Sequence[str]) -> None:
    if len(sites) > NAMED_SITES:
        axes.set_xlabel("sites, in order")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=12, steps=[1, 2, 5, 10], integer=True))
        return
    slanted = len(sites) > 8 or max(map(len, sites), default=0) > 9
    shortened = [site if len(site) <= 20 else f"{site[:19]}…" for site in sites]
    axes.set_xticks(range(1, len(sites) + 1), shortened)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Columns of the legend that fit the picture's width (inches, ten letters to one)."""
    longest = max(map(len, names), default=1) + 5
    return max(1, min(len(names), int(width * 10 / longest)))


def _matrix(counts: SiteCounts, labels: Sequence[str], most: int) -> tuple[list[str], NDArray[np.int64]]:
    """Label names and rows, shape (sites, labels); labels beyond `most` are added up in the last."""
    found = [name for site in counts.values() for name in site]
    present = [name for name in dict.fromkeys([*labels, *found]) if name in set(found)]
    if len(present) <= most:
        names, rest = present, []
    else:
        names, rest = present[:most], present[most:]
    matrix = np.array([[site.get(name, 0) for name in names] for site in counts.values()], dtype=np.int64)
    matrix = matrix.reshape(len(counts), len(names))
    if not rest:
        return names, matrix
    others = [[sum(site.get(name, 0) for name in rest)] for site in counts.values()]
    return [*names, REST], np.hstack([matrix, np.array(others, dtype=np.int64)])


def _colours(names: Sequence[str]) -> list[str]:
    return [*COLOURS, REST_COLOUR][: len(names)]


def _cells(row: NDArray[np.int64]) -> list[str]:
    """The row's sum, then its first counts."""
    return [f"{int(value):,}" for value in (row.sum(), *row[:COUNTED_LABELS])]


def _bar(row: NDArray[np.int64], largest: int, colours: Sequence[str]) -> Text:
    """Blocks of every label's colour; the ends are rounded, so that the bar's length is right."""
    ends = np.rint(np.cumsum(row) * BAR_WIDTH / largest).astype(int)
    lengths = np.diff(ends, prepend=0)
    return Text.assemble(*(("█" * int(n), colour) for n, colour in zip(lengths, colours, strict=True)))


def _legend(names: Sequence[str]) -> Text:
    """The names of the labels that have no column of their own."""
    rest = list(zip(names, _colours(names), strict=True))[COUNTED_LABELS:]
    return Text(" ").join(Text(f"■ {name}", style=colour) for name, colour in rest)

"""The picture of a split shows every row once, for few and for many sites and labels."""

import io
import struct
from pathlib import Path

import datasets
import numpy as np
import pytest
from rich.console import Console

from sealora.models.labels import Labels
from sealora.simulation.split_picture import (
    BAR_WIDTH,
    COLOURS,
    REST,
    SiteCounts,
    label_counts,
    save_split_picture,
    split_table,
)

COUNTS = {"site-01": {"negative": 30, "positive": 10}, "site-02": {"positive": 10}, "site-03": {}}


def shown(counts: SiteCounts, labels: tuple[str, ...] = (), **options: int) -> list[list[str]]:
    """The table's lines, split into words."""
    text = io.StringIO()
    Console(file=text, width=140, color_system=None).print(split_table(counts, labels, **options))
    return [line.split() for line in text.getvalue().splitlines() if line.strip()]


def row_of(lines: list[list[str]], first: str) -> list[str]:
    return next(line for line in lines if line[0] == first)


def test_labels_are_counted_by_site_under_their_class_names() -> None:
    table = datasets.Dataset.from_dict({"y": [0, 1, 1, None, 5]})
    labels = Labels(("no", "yes"), {"0": "no", "1": "yes"})
    counts = label_counts(table, {"a": [0, 1, 3], "b": [2, 4]}, "y", labels)
    assert counts == {"a": {"no": 1, "yes": 1, "no label": 1}, "b": {"yes": 1, "5": 1}}


def test_the_table_has_counts_bars_and_a_sum() -> None:
    lines = shown(COUNTS)
    assert row_of(lines, "site-01") == ["site-01", "40", "30", "10", "█" * BAR_WIDTH]
    assert row_of(lines, "site-02") == ["site-02", "10", "0", "10", "█" * (BAR_WIDTH // 4)]
    assert row_of(lines, "site-03") == ["site-03", "0", "0", "0"]
    assert row_of(lines, "all") == ["all", "50", "30", "20"]


def test_the_order_of_labels_can_be_fixed() -> None:
    assert row_of(shown(COUNTS, ("positive", "negative", "unused")), "site") == [
        *("site", "rows", "positive", "negative", "share"),
    ]


def test_many_sites_are_summed_up() -> None:
    counts = {f"site-{n:03d}": {"a": n} for n in range(1, 101)}
    lines = shown(counts, most_sites=10)
    assert row_of(lines, "…") == ["…", "90", "more", "4,995", "4,995"]
    assert row_of(lines, "all") == ["all", "5,050", "5,050"]


def test_labels_beyond_the_colours_are_added_up() -> None:
    labels = [f"topic{n}" for n in range(len(COLOURS) + 5)]
    lines = shown({"site-01": dict.fromkeys(labels, 2)})
    assert row_of(lines, "site-01")[1] == str(2 * len(labels))
    assert " ".join(row_of(lines, "all")).endswith(f"■ {REST}")


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG in pixels."""
    raw = path.read_bytes()
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", raw[16:24])
    return width, height


def many(sites: int, labels: int) -> dict[str, dict[str, int]]:
    random = np.random.default_rng(0)
    rows = random.integers(0, 50, (sites, labels)).tolist()
    return {f"site-{n:03d}": {f"label{k}": c for k, c in enumerate(row)} for n, row in enumerate(rows)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "counts",
    [
        COUNTS,
        many(8, 8),
        many(16, 30),
        many(100, 8),
        many(300, 2),
        {"北京医院": {"阳性": 3}},
        {"a" * 40: {"b" * 60: 1}},
    ],
    ids=["small", "8", "16", "100", "300", "chinese", "long"],
)
def test_the_picture_is_a_png_of_reasonable_size(tmp_path: Path, counts: SiteCounts) -> None:
    save_split_picture(tmp_path / "split.png", counts)
    width, height = size_of(tmp_path / "split.png")
    assert 700 <= width <= 1700
    assert 600 <= height <= 700


def test_different_splits_give_different_pictures(tmp_path: Path) -> None:
    save_split_picture(tmp_path / "one.png", {"a": {"x": 1, "y": 3}})
    save_split_picture(tmp_path / "two.png", {"a": {"x": 3, "y": 1}})
    save_split_picture(tmp_path / "three.png", {"a": {"x": 1, "y": 3}})
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "three.png").read_bytes()

"""Means, intervals and tables of a comparison, from cells made up here."""

import csv
import math

import pytest
from rich.console import Console

from sealora.simulation.strategy_figures import Cell, build_result, failed_cell, finished_cell, interval
from sealora.simulation.strategy_report import comparison_table, save_picture, write_tables

T4 = 2.7764451
"""Student's t at 97.5 % with 4 degrees of freedom."""


def cell(strategy, seed, metric, worst=0.5, **changes):
    figures = {
        "headline": "accuracy",
        "metric": metric,
        "worst_site": worst,
        "bytes_up": 8000 * seed,
        "bytes_down": 16000,
        "bytes_up_per_site_and_round": 2000.0 * seed,
        "bytes_down_per_site_and_round": 4000.0,
        "seconds": 10.0 * seed,
        "curve": (0.5, metric),
    }
    return Cell(strategy, seed, **{**figures, **changes})


CELLS = [
    *(cell("fedavg", seed, 0.6 + seed / 10) for seed in (1, 2, 3)),
    *(cell("ffa", seed, 0.6 + seed / 10 + 0.01 * seed, worst=0.4) for seed in (1, 2, 3)),
    failed_cell("feddyn", 1, "it diverged."),
    cell("feddyn", 2, 0.7),
]
LABELS = ["fedavg", "ffa", "feddyn", "krum"]
RESULT = build_result(LABELS, CELLS, {"krum": "it sees single updates."})


def row(label, result=RESULT):
    return next(row for row in result["strategies"] if row["strategy"] == label)


def test_the_interval_is_students():
    found = interval([1, 2, 3, 4, 5])
    half = T4 * math.sqrt(2.5) / math.sqrt(5)
    assert (found["mean"], found["seeds"]) == (3, 5)
    assert (found["low"], found["high"]) == pytest.approx((3 - half, 3 + half))


def test_few_seeds_have_no_interval():
    assert interval([0.5]) == {"mean": 0.5, "low": None, "high": None, "seeds": 1}
    assert interval([]) == {"mean": None, "low": None, "high": None, "seeds": 0}


def test_differences_are_paired_by_seed():
    difference = row("ffa")["difference"]
    assert difference["mean"] == pytest.approx(0.02)
    # The differences are 0.01, 0.02, 0.03, though the accuracies spread ten times as far.
    assert difference["high"] - difference["mean"] == pytest.approx(4.3026527 * 0.01 / math.sqrt(3))
    spread = row("ffa")["metric"]["high"] - row("ffa")["metric"]["mean"]
    assert spread == pytest.approx(4.3026527 * 0.11 / math.sqrt(3))
    assert row("ffa")["worst_site_difference"]["mean"] == pytest.approx(-0.1)
    assert row("fedavg")["difference"]["seeds"] == 0


def test_a_failed_run_is_left_out_of_figures_and_pairs():
    assert row("feddyn")["failed"] == {1: "it diverged."}
    assert row("feddyn")["metric"] == interval([0.7])
    assert row("feddyn")["difference"]["mean"] == pytest.approx(0.7 - 0.8)
    assert row("feddyn")["seconds"] == 20


def test_a_base_that_failed_leaves_no_difference():
    result = build_result(["a", "b"], [failed_cell("a", 1, "lost."), cell("b", 1, 0.5)], {})
    assert row("b", result)["difference"]["mean"] is None


def test_a_cell_is_read_from_a_run():
    site = {"metrics": {"accuracy": 0.75}}
    result = {
        "stopped": None,
        "headline": "accuracy",
        "seed": 4,
        "metrics": {"accuracy": 0.8},
        "sites": {"a": site, "b": {"metrics": {"accuracy": 0.5}}, "c": {"metrics": None}},
        "bytes": {
            "up_total": 10,
            "down_total": 20,
            "up_per_site_and_round": 1.0,
            "down_per_site_and_round": 2.0,
        },
        "seconds_per_round": {"train": 3.0, "step": 0.5},
        "train_loss": [0.7, 0.6],
        "adapter_sha256": "ab",
        "curve": [{"accuracy": 0.5}, {"accuracy": None}, {"accuracy": 0.8}],
    }
    found = finished_cell("ffa", result)
    assert (found.metric, found.worst_site, found.seconds, found.curve) == (0.8, 0.5, 7.0, (0.5, None, 0.8))
    stopped = finished_cell("ffa", {**result, "stopped": "The budgets are used up."})
    assert (stopped.failed, stopped.metric) == ("The budgets are used up.", None)


def test_the_table_tells_all():
    console = Console(width=200, record=True, quiet=True)
    console.quiet = False
    with console.capture() as captured:
        console.print(comparison_table(RESULT))
    text = captured.get()
    assert "0.820 ± 0.273" in text
    assert "+0.020 ± 0.025" in text
    assert "krum is refused: it sees single updates." in text
    assert "feddyn failed with seed 1: it diverged." in text
    assert "paired by seed" in text


def test_withheld_metrics_leave_gaps(tmp_path):
    result = build_result(["a"], [cell("a", 1, None, worst=None, curve=(None, None))], {})
    console = Console(width=200)
    with console.capture() as captured:
        console.print(comparison_table(result))
    assert "–" in captured.get()
    assert "One seed: no interval" in captured.get()
    save_picture(tmp_path / "picture.png", result)
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_csv(tmp_path):
    write_tables(RESULT, tmp_path)
    with (tmp_path / "strategies.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [found["strategy"] for found in rows] == LABELS
    assert float(rows[1]["difference_mean"]) == pytest.approx(0.02)
    assert (rows[2]["failed"], rows[3]["refused"]) == ("seed 1: it diverged.", "it sees single updates.")
    with (tmp_path / "cells.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert [(found["strategy"], found["seed"]) for found in cells] == [
        (one.strategy, str(one.seed)) for one in CELLS
    ]
    assert "curve" not in cells[0]

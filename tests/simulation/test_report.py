"""The end of a run: the table, the verdict and the picture, whatever could not be measured."""

import copy
import io

import numpy as np
import pytest
from rich.console import Console

from sealora.models.settings import TaskSettings
from sealora.models.task import load_task
from sealora.simulation.report import final_table, peak_rss, save_learning_curve, worth_it
from sealora.simulation.split_picture import save_split_picture, split_table


def metrics(accuracy, auroc=0.5):
    return {"loss": 0.5, "accuracy": accuracy, "macro_f1": accuracy, "auroc": auroc}


RESULT = {
    "name": "toy",
    "headline": "accuracy",
    "secure_aggregation": True,
    "guarantee": "secure aggregation",
    "metrics": metrics(0.8),
    "curve": [metrics(0.5), metrics(0.7), metrics(0.8)],
    "sites": {"a": {"metrics": metrics(0.9)}, "b": {"metrics": metrics(0.6)}},
    "comparison": {"alone": {"a": metrics(0.85), "b": metrics(0.55)}, "pooled": metrics(0.9)},
}
"""What the report reads of a result."""


def changed(**changes):
    return {**copy.deepcopy(RESULT), **changes}


def shown(result):
    console = Console(file=io.StringIO(), width=150)
    console.print(final_table(result))
    return console.file.getvalue()


def rows(result):
    """Model and headline of every line of the table."""
    lines = [line.replace("│", "┃").split("┃") for line in shown(result).splitlines() if "0." in line]
    return {cells[1].strip(): cells[2].strip() for cells in lines if len(cells) > 3}


def test_the_table_compares():
    assert rows(RESULT) == {
        "alone, worst (b)": "0.550",
        "alone, mean of sites": "0.700",
        "alone, best (a)": "0.850",
        "federated": "0.800",
        "federated, on its worst site (b)": "0.600",
        "all data pooled": "0.900",
    }


def test_without_a_comparison():
    assert rows(changed(comparison=None)) == {
        "federated": "0.800",
        "federated, on its worst site (b)": "0.600",
    }
    assert worth_it(changed(comparison=None)) == ""


def test_a_training_that_diverged_is_told():
    assert "diverged" not in shown(RESULT) + shown(changed(diverged=[0, 0]))
    told = shown(changed(diverged=[3, 1]))
    assert "Training diverged in 2 of 2 rounds, at up to 3 sites" in told
    assert "Lower training.learning_rate." in told


def test_the_verdict_counts_in_points():
    assert worth_it(RESULT) == (
        "Is federation worth it? Its accuracy is +10.0 points against the mean site alone, "
        "better than 1 of 2 sites' own models, and -10.0 points against pooling all data."
    )
    assert "Is federation worth it?" in shown(RESULT)


def test_a_metric_that_should_fall_is_judged_the_other_way_round():
    def metrics(perplexity):
        return {"loss": 1.0, "perplexity": perplexity, "token_accuracy": 0.5}

    alone = {"a": metrics(30.0), "b": metrics(20.0)}
    result = changed(
        headline="perplexity",
        better="lower",
        metrics=metrics(22.0),
        comparison={"alone": alone, "pooled": metrics(21.0)},
        sites={"a": {"metrics": metrics(25.0)}, "b": {"metrics": metrics(19.0)}},
    )
    assert worth_it(result) == (
        "Is federation worth it? Its perplexity is -3.0 against the mean site alone, better than 1 of 2 "
        "sites' own models, and +1.0 against pooling all data (lower is better)."
    )
    assert {"alone, worst (a)", "alone, best (b)", "federated, on its worst site (a)"} <= rows(result).keys()
    assert "token accuracy" in shown(result)


@pytest.mark.parametrize(
    ("name", "labels", "columns"),
    [
        ("classification", ("a", "b"), ["accuracy", "macro F1", "AUROC", "loss"]),
        ("token_classification", ("PLACE",), ["F1", "precision", "recall", "strict F1", "accuracy", "loss"]),
        ("instruction_tuning", (), ["perplexity", "token accuracy", "loss"]),
        ("masked_pretraining", (), ["perplexity", "token accuracy", "loss"]),
        ("preference_tuning", (), ["accuracy", "margin", "chosen reward", "rejected reward", "loss"]),
    ],
)
def test_the_columns_are_the_tasks_own(name, labels, columns):
    task = load_task(TaskSettings(name=name, labels=labels))
    none = {spec.name: np.zeros(spec.length) for spec in task.sums()}
    measured = task.metrics(none)
    sites = {"a": {"metrics": measured}}
    table = shown(
        changed(headline=task.headline, better=task.better, metrics=measured, sites=sites, comparison=None)
    )
    heading = next(line for line in table.splitlines() if "model" in line)
    assert [cell.strip() for cell in heading.strip("┃").split("┃")] == ["model", *columns]


def test_the_protection_is_named():
    assert "Protection of single updates: secure aggregation." in shown(RESULT)
    open_run = changed(secure_aggregation=False, guarantee="none: the coordinator sees all")
    assert "Protection of single updates: none: the coordinator sees all." in shown(open_run)


def test_a_site_that_was_not_measured_is_not_the_worst():
    sites = {**RESULT["sites"], "c": {"metrics": None}}
    assert rows(changed(sites=sites))["federated, on its worst site (b)"] == "0.600"
    nobody = {name: {"metrics": None} for name in "abc"}
    assert [name for name in rows(changed(sites=nobody)) if "worst site" in name] == []


def test_an_auroc_that_nobody_has():
    comparison = {"alone": {name: metrics(0.5, None) for name in "ab"}, "pooled": metrics(0.5, None)}
    result = changed(comparison=comparison, metrics=metrics(0.5, None))
    assert "–" in shown(result)
    some = {"alone": {"a": metrics(0.5, None), "b": metrics(0.5, 0.7)}, "pooled": metrics(0.5)}
    mean = next(line for line in shown(changed(comparison=some)).splitlines() if "mean of sites" in line)
    assert "0.700" in mean, "the mean is of those that have one"


def test_names_are_no_markup():
    assert "[/red]" in shown(changed(name="[/red]"))
    sites = {"[/red]": {"metrics": metrics(0.1)}}
    assert "federated, on its worst site ([/red])" in shown(changed(sites=sites))


@pytest.mark.parametrize(
    "result",
    [RESULT, changed(comparison=None), changed(name="50 $ a_{$ 一天")],
    ids=["whole", "alone", "dollars"],
)
def test_the_learning_curve_is_drawn(tmp_path, result):
    save_learning_curve(tmp_path / "curve.png", result)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_labels_and_sites_are_drawn_as_they_are(tmp_path):
    counts = {"[/red]": {"$a_{$": 3, "[/b]": 2}, "$b_{$": {"[/b]": 1}}
    console = Console(file=io.StringIO(), width=150)
    console.print(split_table(counts))
    assert all(name in console.file.getvalue() for name in ("[/red]", "$a_{$", "[/b]"))
    save_split_picture(tmp_path / "split.png", counts)
    assert (tmp_path / "split.png").read_bytes().startswith(b"\x89PNG")


def test_memory_is_in_bytes():
    assert 2**24 < peak_rss() < 2**40

"""What a comparison takes from a run's result."""

import pytest

from sealora.simulation.strategy_figures import finished_cell


@pytest.mark.parametrize(("better", "worst"), [("higher", 1.0), ("lower", 3.0)])
def test_the_worst_site_follows_the_direction_of_the_metric(better, worst):
    assert finished_cell("fedavg", result(better)).worst_site == worst


@pytest.mark.parametrize("masked", [True, False])
def test_it_says_whether_the_coordinator_saw_every_update(masked):
    cell = finished_cell("fedavg", {**result("higher"), "secure_aggregation": masked})
    assert cell.plain is not masked


def result(better):
    traffic = {f"{way}_{of}": 1.0 for way in ("up", "down") for of in ("total", "per_site_and_round")}
    return {
        "stopped": None,
        "seed": 1,
        "headline": "score",
        "better": better,
        "bytes": traffic,
        "metrics": {"score": 2.0},
        "sites": {name: {"metrics": {"score": value}} for name, value in (("a", 1.0), ("b", 3.0))},
        "seconds_per_round": {"train": 1.0},
        "train_loss": [0.5],
        "adapter_sha256": "",
        "curve": [],
    }

"""How accuracies over paired seeds become figures."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from accuracy import EXAMPLE, Accuracies, accuracies, figures, report, run_seed
from rich.console import Console

from sealora.plan.loader import load
from sealora.simulation.run_folder import RunFolder


def result() -> dict[str, object]:
    return {
        "metrics": {"accuracy": 0.75},
        "sites": {"site-01": {"train_rows": 30}, "site-02": {"train_rows": 10}},
        "comparison": {
            "alone": {"site-01": {"accuracy": 0.7}, "site-02": {"accuracy": 0.5}},
            "pooled": {"accuracy": 0.8},
        },
    }


def test_accuracies_of_a_result() -> None:
    run = SimpleNamespace(result=result(), metrics={"accuracy": 0.75})
    found = accuracies(run)  # type: ignore[arg-type]
    assert found == Accuracies(0.75, 0.8, pytest.approx(0.6), pytest.approx(0.65), 0.7)


def test_differences_are_paired_by_seed() -> None:
    # Seeds differ by ten points, federated and pooled by one in each: the interval has no width.
    found = [Accuracies(0.7, 0.71, 0.6, 0.6, 0.65), Accuracies(0.8, 0.81, 0.6, 0.6, 0.65)]
    named = figures(found)
    assert named["accuracy_federated"] == pytest.approx(0.75)
    for end in ("", "_low", "_high"):
        assert named[f"federated_minus_pooled_points{end}"] == pytest.approx(-1)
    assert named["federated_minus_mean_alone_points_low"] < named["federated_minus_mean_alone_points"]
    assert "federated minus pooled: -1.00 points (95 % interval -1.00 to -1.00)" in report([1, 2], found)


def test_one_seed_has_no_interval() -> None:
    found = [Accuracies(0.7, 0.71, 0.6, 0.6, 0.65)]
    assert not [name for name in figures(found) if name.endswith(("_low", "_high"))]
    assert "no interval from one seed" in report([1], found)


def test_a_finished_seed_is_read_and_not_run_again(tmp_path: Path) -> None:
    plan = load(EXAMPLE)
    folder = RunFolder.create(tmp_path / "seed-1", plan, {})
    folder.write_json("result.json", result())
    assert run_seed(plan, folder.path, Console(quiet=True)).pooled == 0.8


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    plan = load(EXAMPLE)
    folder = RunFolder.create(tmp_path / "seed-1", plan, {})
    with pytest.raises(SystemExit, match="another plan: delete it"):
        run_seed(plan.replace(rounds={"count": 1}), folder.path, Console(quiet=True))

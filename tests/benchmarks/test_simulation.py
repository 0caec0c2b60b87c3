"""The simulation benchmark's workload and figures; the runs themselves are its own smoke test."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from process_tree import Measured

from sealora.models.table import draw_rows, read_table
from sealora.plan.loader import load


def benchmark() -> ModuleType:
    """The script under a name of its own, for a folder at the top of the repository has the script's."""
    path = Path(__file__).parents[2] / "benchmarks" / "simulation.py"
    spec = spec_from_file_location("simulation_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIMULATION = benchmark()


def outcomes(*seconds: float, megabytes: int, accuracy: float) -> list[Any]:
    return [SIMULATION.Outcome(Measured(value, megabytes * 10**6, 0), accuracy) for value in seconds]


FOUND = {
    "ours": outcomes(10, 20, megabytes=500, accuracy=0.7),
    "flower_two_actors": outcomes(40, 80, megabytes=2000, accuracy=0.71),
    "flower_one_actor": outcomes(30, 60, megabytes=1000, accuracy=0.69),
}


def test_the_faster_flower_configuration_counts() -> None:
    assert SIMULATION.faster(FOUND) == "flower_one_actor"
    named = SIMULATION.figures(FOUND)
    assert named["ratio_vs_flower_ray"] == 3
    assert named["memory_vs_flower_ray"] == 0.5
    assert (named["accuracy_ours"], named["accuracy_flower_ray"]) == (0.7, 0.69)
    assert named["seconds_flower_two_actors"] == 60
    assert named["pss_megabytes_flower_ray"] == 1000
    assert "4.00 (4.00 to 4.00)" in SIMULATION.report(FOUND)


@pytest.mark.slow
def test_both_sides_get_the_same_rows(tmp_path: Path) -> None:
    plan = load(SIMULATION.EXAMPLE).replace(data={"rows": 400})
    SIMULATION.write_workload(plan, tmp_path)
    assert load(tmp_path / "plan.toml").hash == plan.hash
    workload = json.loads((tmp_path / "workload.json").read_text())
    texts = [text for site in workload["sites"] for part in site.values() for text, _ in part]
    drawn = draw_rows(read_table(plan.data, ("text_column",)), 400, plan.seed)["text"]
    assert len(workload["sites"]) == plan.simulation.sites
    assert set(texts) <= set(drawn)
    assert len(texts) > 390
    assert {label for site in workload["sites"] for _, label in site["train"]} == {0, 1}


def test_another_split_is_noticed() -> None:
    workload = {"sites": [{"train": [("good", 1)], "test": [("bad", 0)]}]}
    SIMULATION._check_same_split({"sites": {"site-01": {"train_rows": 1, "test_rows": 1}}}, workload)
    with pytest.raises(RuntimeError, match="sites differ"):
        SIMULATION._check_same_split({"sites": {"site-01": {"train_rows": 2, "test_rows": 1}}}, workload)

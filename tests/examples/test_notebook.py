"""The notebook: its code runs, shortened, and what it shows was really printed by it."""

import json
from pathlib import Path

import matplotlib
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
CELLS = json.loads((EXAMPLES / "notebook.ipynb").read_text("utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_every_code_cell_was_run_in_order_and_none_failed():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert "/home" not in json.dumps(outputs)
    assert [output["name"] for output in outputs if output["output_type"] == "stream"] == ["stdout"] * 2


@pytest.mark.slow
def test_the_code_runs(tmp_path, monkeypatch, capsys):
    (parameters,) = (cell for cell in CODE if "parameters" in cell["metadata"].get("tags", ()))
    monkeypatch.chdir(EXAMPLES)
    matplotlib.use("Agg")
    names: dict[str, object] = {"plan": None}
    for number, cell in enumerate(CODE):
        source = "".join(cell["source"])
        if cell is parameters:
            source = f"rows, rounds, out = 400, 1, {str(tmp_path / 'run')!r}"
        if "simulate(" in source:
            names["plan"] = names["plan"].replace(task={"max_length": 16})
        exec(compile(source, f"cell {number}", "exec"), names)
    assert len(names["alone"]) == 16
    assert len(names["curve"]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 5
    matplotlib.pyplot.close("all")

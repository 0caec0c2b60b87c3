"""`sealora simulate`: what it prints, where it writes, and how it tells to go on."""

import json
import shlex
from pathlib import Path

import pytest
import typer

from sealora.cli.simulate import _end, folder_name, next_folder, resume_command


@pytest.mark.slow
def test_a_run_prints_its_result_and_where_it_is(tiny, command, tmp_path):
    code, out, err = command(
        "simulate", tiny.plan(tmp_path), "--out", tmp_path / "run", "--rounds", 2, "--compare"
    )
    assert code == 0, err
    assert "Result of tiny" in out
    assert "Is federation worth it?" in out
    assert f"Adapter: {tmp_path / 'run' / 'adapter'}" in out
    assert "Round 2/2" in err
    assert "Round" not in out, "progress is no result"
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(result["comparison"]["alone"]) == set(result["sites"])


@pytest.mark.slow
def test_json_is_the_result_alone(tiny, command, tmp_path):
    code, out, _ = command(
        "simulate", tiny.plan(tmp_path), "--out", tmp_path / "run", "--rounds", 1, "--json"
    )
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "run" / "result.json").read_text())


@pytest.mark.slow
def test_runs_are_numbered_by_the_plans_name(tiny, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = tiny.plan(tmp_path, ('name = "tiny"', 'name = "my first/run"'))
    for _ in range(2):
        code, out, err = command("simulate", plan, "--rounds", 1, "--seed", 3)
        assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["my-first-run", "my-first-run-2"]
    assert "sealora predict runs/my-first-run-2 'A text of your own.'" in out
    assert json.loads((tmp_path / "runs" / "my-first-run" / "result.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("name", "folder"),
    [("sentiment", "sentiment"), ("a b/c", "a-b-c"), ("../..", "run"), ("...", "run"), ("肺炎 1", "肺炎-1")],
)
def test_names_become_folders(name, folder):
    assert folder_name(name) == folder


def test_the_next_free_folder(tmp_path):
    wanted = tmp_path / "run"
    assert next_folder(wanted) == wanted
    wanted.mkdir()
    assert next_folder(wanted) == wanted, "an empty folder is free"
    (wanted / "x").touch()
    assert next_folder(wanted) == tmp_path / "run-2"
    assert next_folder(wanted, resume=True) == wanted
    (tmp_path / "run-2").touch()
    assert next_folder(wanted) == tmp_path / "run-3", "a file is in the way too"
    (tmp_path / "run-3").mkdir()
    (tmp_path / "run-3" / "x").touch()
    assert next_folder(wanted, resume=True) == tmp_path / "run-3"
    assert next_folder(tmp_path / "new", resume=True) == tmp_path / "new"


def test_the_command_that_goes_on():
    words = resume_command(Path("my plan.toml"), Path("runs/a b"), 4, 0, True)
    assert shlex.split(words) == [
        "sealora", "simulate", "my plan.toml", "--out", "runs/a b", "--resume",
        "--rounds", "4", "--seed", "0", "--compare",
    ]  # fmt: skip
    assert resume_command(Path("p"), Path("o"), None, None, False) == "sealora simulate p --out o --resume"


def test_a_run_that_its_budget_ended_exits_like_a_refusal():
    with pytest.raises(typer.Exit) as ended:
        _end({"stopped": "The privacy budgets do not pay for round 3."})
    assert ended.value.exit_code == 3
    assert _end({"stopped": None}) is None
    assert _end({}) is None

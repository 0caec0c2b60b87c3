"""`sealora demo`: a run of the bundled plan without a hub."""

import os
from pathlib import Path

import pytest

from sealora.cli import demo
from sealora.plan.loader import load


def test_the_demo_is_the_sentiment_example():
    example = load(Path(__file__).parents[2] / "examples" / "sentiment" / "plan.toml")
    assert load(demo.PLAN).hash == example.hash
    assert load(demo.PLAN).model.name.startswith("bundled:")
    assert load(demo.PLAN).data.path.startswith("bundled:")


@pytest.mark.slow
def test_every_demo_has_a_folder_of_its_own(tiny, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "PLAN", tiny.plan(tmp_path, ("count = 3", "count = 1")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "to be set")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for folder in ("demo", "demo-2"):
        code, out, err = command("demo")
        assert code == 0, err
        assert f"sealora predict runs/{folder} " in out
    assert os.environ["HF_HUB_OFFLINE"] == "1", "no hub is asked"


@pytest.mark.slow
def test_a_folder_by_name(tiny, command, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "PLAN", tiny.plan(tmp_path, ("count = 3", "count = 1")))
    code, out, _ = command("demo", "--out", tmp_path / "here", "--json")
    assert code == 0
    assert out.startswith("{")
    assert (tmp_path / "here" / "result.json").exists()
    code, _, err = command("demo", "--out", tmp_path / "here")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: ")

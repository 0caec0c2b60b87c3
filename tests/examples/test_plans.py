"""Every example: its plan is sound, its README leads to it, and a shortened run comes to an end."""

import math
from pathlib import Path

import pytest

import sealora
from sealora.cli.demo import PLAN as DEMO
from sealora.plan.loader import load

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / "examples").glob("*/plan.toml"))
NAMES = [path.parent.name for path in PLANS]
NATURAL = {"health-news": 16, "chat": 4}
"""Sites of the examples whose data says which there are."""


def test_there_are_examples() -> None:
    shown = {"sentiment", "newswire", "chinese-sentiment", "health-news", "ner-chinese", "chat", "instruct"}
    assert shown <= set(NAMES)


@pytest.mark.parametrize("path", PLANS, ids=NAMES)
def test_a_plan_is_valid_without_warnings_and_bears_its_folder_s_name(path) -> None:
    plan = load(path)
    assert plan.warnings == ()
    assert plan.name == path.parent.name


@pytest.mark.parametrize("path", PLANS, ids=NAMES)
def test_an_example_needs_no_hub_and_is_limited(path) -> None:
    plan = load(path)
    assert plan.model.name.startswith("bundled:")
    assert plan.data.path.startswith("bundled:")
    assert plan.data.rows > 0


@pytest.mark.parametrize("path", PLANS, ids=NAMES)
def test_the_readme_runs_the_plan_beside_it(path) -> None:
    text = (path.parent / "README.md").read_text("utf-8")
    assert f"sealora simulate {path.relative_to(ROOT).as_posix()} " in text


def test_the_demo_is_the_sentiment_example() -> None:
    assert DEMO.read_bytes() == (ROOT / "examples" / "sentiment" / "plan.toml").read_bytes()


def test_the_fast_sentiment_plan_is_the_example_with_adapters_in_the_last_layer() -> None:
    example = load(ROOT / "examples" / "sentiment" / "plan.toml")
    fast = load(ROOT / "examples" / "sentiment" / "fast.toml")
    assert fast.warnings == ()
    changes = {
        "data": {"rows": 1500},
        "lora": {"last_layers": 1, "alpha": 128.0},
        "training": {"cache_frozen_layers": True, "batch_size": 16},
    }
    assert fast.canonical == example.replace(name="sentiment-fast", **changes).canonical


@pytest.mark.slow
@pytest.mark.parametrize("path", PLANS, ids=NAMES)
def test_a_shortened_run_finishes(path, shorten, tiny_chat_model, tmp_path) -> None:
    natural = NATURAL.get(path.parent.name)
    rows = 400 if natural else 200
    plan = shorten(path, rows)
    if plan.model.name == "bundled:smollm2":  # too large for every test: see test_smollm2.py
        plan = plan.replace(model={"name": str(tiny_chat_model)})
    else:
        plan = plan.replace(task={"max_length": 24})
    run = sealora.simulate(plan, tmp_path / "run")
    assert run.task.headline in run.metrics
    if plan.privacy.private:
        assert set(run.metrics.values()) == {None}, "this example releases none"
    else:
        assert all(math.isfinite(value) for value in run.metrics.values())
        assert run.result["curve"][0]["loss"] != run.result["curve"][1]["loss"]
    assert len(run.result["sites"]) == (natural or plan.simulation.sites)
    kept = sum(site["cleaning"]["rows_kept"] for site in run.result["sites"].values())
    assert 0.75 * rows < kept <= rows
    assert (run.adapter_path / "adapter_model.safetensors").is_file()

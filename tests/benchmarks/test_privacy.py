"""The privacy benchmark: its contestants take the same step, and its figures point the right way."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import private_contestants
import pytest
from pairs import json_line

from sealora.models.adapter import flatten
from sealora.models.task import Example, load_task


def benchmark() -> ModuleType:
    """The script under a name of its own, for a folder at the top of the repository has the script's."""
    path = Path(__file__).parents[2] / "benchmarks" / "privacy.py"
    spec = spec_from_file_location("privacy_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PRIVACY = benchmark()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Opacus warns of its generator and of its hooks
@pytest.mark.parametrize("mode", ["opacus_hooks", "opacus_ghost"])
def test_opacus_takes_the_same_step_but_for_its_noise(tiny_model, mode, monkeypatch):
    rows = 200
    plan = PRIVACY.private_plan(rows, 1).replace(
        model={"name": str(tiny_model)},
        task={"max_length": 16},
        lora={"rank": 2},
        privacy={"noise_multiplier": 0.05, "clipping_norm": 0.01},
    )
    draw = np.random.default_rng(0)
    # No tensor is zero, and all labels are alike, so that gradients reach every tensor and add up.
    first = {
        name: draw.normal(0, 0.1, tensor.shape).astype(np.float32)
        for name, tensor in private_contestants.first_adapter(plan).items()
    }
    monkeypatch.setattr(private_contestants, "first_adapter", lambda plan: first)
    examples = [Example((2, *draw.integers(5, 23, draw.integers(1, 10)).tolist(), 3), 1) for n in range(rows)]

    def step(name):
        train = private_contestants.build(name, plan, load_task(plan.task))
        # The second call must not see the first one's hooks.
        moved = [train(examples, [range(rows)]).tensors for _ in range(2)][-1]
        return flatten(moved, list(first)) - flatten(first, list(first))

    ours, theirs = step("ours"), step(mode)
    assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(ours)


def test_batches_are_poisson_samples_of_the_rows():
    plan = PRIVACY.private_plan(64, 4)
    batches = PRIVACY.draw(plan, 256, 1)
    assert len(batches) == 4
    assert batches == PRIVACY.draw(plan, 256, 1)
    assert batches != PRIVACY.draw(plan, 256, 2)
    assert len({len(batch) for batch in batches}) > 1
    assert all(batch == sorted(set(batch)) and batch[-1] < 256 for batch in batches)


def test_figures_are_ratios_of_pairs(capsys):
    speeds = {
        "ours": [10.0, 20.0],
        "nonprivate": [11.0, 22.0],
        "opacus_hooks": [5.0, 10.0],
        "opacus_ghost": [4.0, 8.0],
    }
    peaks = {"ours": [900.0], "opacus_hooks": [1000.0]}
    figures = PRIVACY.report(speeds, peaks, [("one", 1.0, 1.02), ("two", 4.0, 5.0)])
    assert figures["dp_over_nonprivate"] == pytest.approx(1.1)
    assert figures["ratio_vs_opacus_hooks"] == pytest.approx(2.0)
    assert figures["ratio_vs_opacus_ghost"] == pytest.approx(2.5)
    assert figures["memory_vs_opacus_hooks"] == pytest.approx(0.9)
    assert figures["epsilon_gap"] == pytest.approx(0.2)
    assert "opacus_ghost" in capsys.readouterr().out
    assert json.loads(json_line("privacy", figures))["benchmark"] == "privacy"

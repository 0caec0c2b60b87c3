"""What the strategy promises, on Sealora's federation of a few small tensors."""

import numpy as np
import pytest

from sealora.models.adapter import flatten
from sealora.simulation.toy import FIRST, LAYOUT, toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings

NAMES = [spec.name for spec in LAYOUT.specs]


def distance(folder, rounds, **options):
    """How far the model is from its start after so many rounds."""
    settings = StrategySettings(name="bounded", options=options)
    plan = toy_plan(strategy=settings, rounds={"count": rounds})
    adapter, _ = toy_federation(folder, plan=plan).coordinator().run()
    return float(np.linalg.norm(flatten(adapter.tensors, NAMES) - flatten(FIRST, NAMES)))


def test_a_round_moves_the_model_by_the_largest_step_at_most(tmp_path):
    assert distance(tmp_path / "free", 1, largest_step=100.0) > 0.6
    assert distance(tmp_path / "bound", 1, largest_step=0.2) == pytest.approx(0.2, rel=1e-3)
    assert distance(tmp_path / "two", 2, largest_step=0.2) < 0.4 * (1 + 1e-3)


def test_a_generous_bound_changes_nothing(tmp_path):
    assert distance(tmp_path / "a", 2, largest_step=100.0) == distance(tmp_path / "b", 2, largest_step=50.0)

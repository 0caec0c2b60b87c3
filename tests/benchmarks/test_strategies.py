"""The small problems on which strategies are compared."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import linear_problem
import numpy as np
import pytest
from embedded_task import LAYOUT, A, B, Rows, gradients


@pytest.fixture(scope="module")
def strategies():
    """The script, which has the name of a folder."""
    path = Path(__file__).parents[2] / "benchmarks" / "strategies.py"
    spec = spec_from_file_location("benchmark_strategies", path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_half_is_sent_where_one_side_is_fixed(strategies):
    counts = {name: strategies.values_sent(name) for name in strategies.SENDERS}
    assert {counts[name] / counts["fedavg"] for name in strategies.SENDERS[1:]} == {0.5}


def test_a_fixed_a_plateaus_where_alternation_goes_on():
    problem = linear_problem.Problem.draw(1)
    ffa, rolora = (linear_problem.errors(name, problem, 60)[-1] for name in ("ffa", "rolora"))
    assert ffa == pytest.approx(problem.plateau, abs=1e-3)
    assert rolora < ffa / 100


def test_every_row_is_dealt_once(strategies):
    classes, generator = np.arange(90) % 3, np.random.default_rng(0)
    parts = strategies.dealt(classes, np.arange(90), generator)
    assert sorted(np.concatenate(parts)) == list(range(90))


def test_gradients_are_those_of_the_loss_and_clipped_ones_have_a_bounded_norm():
    generator = np.random.default_rng(0)
    width = LAYOUT[A].shape[1]
    tensors = {name: generator.normal(0, 0.1, LAYOUT[name].shape) for name in (A, B)}
    readout = generator.normal(size=(2, width))
    rows = Rows(generator.normal(size=(5, width)), np.array([0, 1, 1, 0, 1]))

    def loss(changed):
        logits = (rows.inputs + 2.0 * rows.inputs @ (changed[B] @ changed[A]).T) @ readout.T
        return float((np.logaddexp.reduce(logits, axis=1) - logits[np.arange(5), rows.classes]).sum())

    found = gradients(tensors, (A, B), readout, rows, clipped=False)
    for name in (A, B):
        moved = {**tensors, name: tensors[name] + 1e-5 * np.eye(*LAYOUT[name].shape)}
        expected = np.trace(found[name][:8, :8])
        assert (loss(moved) - loss(tensors)) / 1e-5 == pytest.approx(expected, rel=1e-2)
    clipped = gradients(tensors, (A, B), readout, rows, clipped=True)
    assert sum(np.square(part).sum() for part in clipped.values()) ** 0.5 <= 5

"""The toy federation: torch-free, deterministic, and a stand-in for the real one."""

import subprocess
import sys

import numpy as np
import pytest

from sealora.client.trainer import Trainer
from sealora.models.adapter import flatten
from sealora.models.task import LOSS_UNITS
from sealora.simulation.toy import LAYOUT, ToyTrainer, tensors_of, toy_federation
from sealora.strategies.strategy import Start

NAMES = [spec.name for spec in LAYOUT.specs]


@pytest.mark.slow
def test_it_needs_no_torch(tmp_path):
    script = (
        "import sys, pathlib; from sealora.simulation.toy import toy_federation\n"
        f"toy_federation(pathlib.Path({str(tmp_path)!r}), sites=2).coordinator().run()\n"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def trained(start, **options):
    trainer: Trainer = ToyTrainer(tensors_of("target"), **options)
    return trainer.train(start, NAMES, [None] * 4, 1, b"seed")


def test_training_moves_towards_the_targets():
    start = tensors_of("start")
    result = trained(Start(start), jitter=0.0)
    goal = flatten(tensors_of("target"), NAMES)
    expected = goal + (flatten(start, NAMES) - goal) * 0.7**3
    np.testing.assert_allclose(flatten(result.tensors, NAMES), expected, atol=1e-6)
    assert result.rows == 12
    assert result.loss / 12 == float(np.mean(np.square(flatten(start, NAMES) - goal, dtype=np.float64)))


def test_the_seed_decides_the_jitter():
    trainer = ToyTrainer(tensors_of("target"))
    start = Start(tensors_of("start"))
    results = [
        flatten(trainer.train(start, NAMES, [], 1, seed).tensors, NAMES) for seed in (b"1", b"1", b"2")
    ]
    np.testing.assert_array_equal(results[0], results[1])
    assert 0 < np.abs(results[0] - results[2]).max() < 0.03


def test_only_what_is_named_moves():
    start = tensors_of("start")
    result = ToyTrainer(tensors_of("target")).train(Start(start), NAMES[:1], [], 1, b"").tensors
    assert [np.array_equal(result[name], start[name]) for name in NAMES] == [False, True, True, True]


def test_a_gradient_term_is_applied():
    def away(current):
        return {name: np.full_like(tensor, 10.0) for name, tensor in current.items()}

    start = tensors_of("start")
    plain, pushed = (trained(Start(start, term), jitter=0.0, steps=1).tensors for term in (None, away))
    np.testing.assert_allclose(flatten(plain, NAMES) - flatten(pushed, NAMES), 3.0, atol=1e-5)


def test_an_unbounded_model_has_a_bounded_loss():
    trainer = ToyTrainer(tensors_of("target"))
    far = {name: np.full_like(tensor, 1e30) for name, tensor in tensors_of("start").items()}
    broken = {name: np.full_like(tensor, np.nan) for name, tensor in far.items()}
    for tensors in (far, broken):
        assert trainer.evaluate(tensors, [None] * 2)["loss"] == 2 * 1024 * LOSS_UNITS


def test_sites_differ_in_rows_and_targets(tmp_path):
    toy = toy_federation(tmp_path, sites=3)
    assert [len(site.data.train) for site in toy.sites.values()] == [10, 20, 30]
    assert [len(site.data.test) for site in toy.sites.values()] == [1, 2, 3]
    assert len({flatten(site.trainer.targets, NAMES).tobytes() for site in toy.sites.values()}) == 3

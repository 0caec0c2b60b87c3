"""A quantised base: nearly the same outputs from fewer bytes, and nearly the same training on it."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sealora.client.torch_trainer import TorchTrainer
from sealora.models import quantization
from sealora.models.base import load_base
from sealora.models.lora import frozen_tensors, initial_adapter
from sealora.models.settings import ModelSettings
from sealora.models.task import load_task
from sealora.plan.loader import Plan
from sealora.protocol.errors import ModelError, PlanError
from sealora.strategies.strategy import Start

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason='bitsandbytes is missing: pip install "sealora[quantization]"'
)
PLAN = """\
schema = 1
model = {{ name = "{model}", device = "cpu", quantization = "{bits}" }}
lora.rank = 2
training = {{ batch_size = 8, learning_rate = 0.01, optimizer = "sgd" }}
task.max_length = 24
"""
CLASSIFICATION, INSTRUCTION = 'task.labels = ["a", "b"]', 'task.name = "instruction_tuning"'
PRIVATE = """
strategy.weighting = "uniform"
data.drop_duplicates = false
privacy = { guarantee = "record", epsilon = 8.0, delta = 1e-5, sampling_rate = 0.1, expected_batch = 8 }
"""
BYTES = {"none": 4, "int8": 1, "int4": 0.5}
"""Of a frozen linear layer's weight."""
DISTANCE = {"int8": 0.02, "int4": 0.15}
"""At most, of a layer's outputs: relative, L2."""
LIKENESS = {"int8": 0.99, "int4": 0.4}
"""At least, of what a step adds to the adapter: the cosine. So narrow a model feels every lost bit."""


@pytest.fixture
def trainer(tiny_model, tiny_chat_model):
    """Makes the trainer that a plan asks for."""

    def make(task, bits):
        model = tiny_model if task == CLASSIFICATION else tiny_chat_model
        plan = Plan.from_text(PLAN.format(model=model, bits=bits) + task)
        ours = load_task(plan.task)
        return TorchTrainer(load_base(plan.model, ours), ours, plan.lora, plan.training, rounds=1)

    return make


def examples(found):
    draw = np.random.default_rng(0)
    return [found._task.synthetic(draw.integers(7, 20, 10).tolist(), number % 2) for number in range(8)]


def frozen_layer(found):
    """A quantised layer below an adapter."""
    names = [name for name, _ in found.model.named_modules() if name.endswith("base_layer")]
    return found.model.get_submodule(names[0])


def step(found):
    """What one step of training adds to the adapter, end to end."""
    first = initial_adapter(found.layout, 0).tensors
    end = found.train(Start(first), list(first), examples(found), 1, bytes(32)).tensors
    return np.concatenate([(end[name] - first[name]).ravel() for name in sorted(first)])


@torch.no_grad()
def output(layer):
    return layer(torch.randn(64, 16, generator=torch.Generator().manual_seed(0))).numpy()


def distance(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def likeness(found, exact):
    return found @ exact / np.linalg.norm(found) / np.linalg.norm(exact)


@needs_bitsandbytes
@pytest.mark.parametrize("task", [CLASSIFICATION, INSTRUCTION])
@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_less_memory_and_nearly_the_same_model(trainer, task, bits):
    exact, found = trainer(task, "none"), trainer(task, bits)
    for one, many in ((exact, "none"), (found, bits)):
        weight = frozen_layer(one).weight
        assert weight.numel() * weight.element_size() == 16 * 16 * BYTES[many]
        assert not weight.requires_grad
    frozen = [tensor.clone() for tensor in frozen_tensors(found.model)]
    assert 0 < distance(*(output(frozen_layer(one)) for one in (found, exact))) <= DISTANCE[bits]
    added = step(found)
    assert likeness(added, step(exact)) >= LIKENESS[bits]
    found.evaluate(initial_adapter(found.layout, 0).tensors, examples(found))
    assert all(map(torch.equal, frozen, frozen_tensors(found.model)))
    np.testing.assert_array_equal(step(found), added, "gradients flow through a base that was evaluated, too")


@needs_bitsandbytes
@pytest.mark.parametrize(("bits", "apart"), [("int4", True), ("int8", False)])
def test_whether_rows_of_a_batch_keep_apart(trainer, bits, apart):
    """With int8 they do not, so that no guarantee can be given: see plan/checks.py."""
    layer = frozen_layer(trainer(CLASSIFICATION, bits))
    row, loud = torch.linspace(-1, 1, 16).expand(2, 1, 16).clone()
    loud[0, 0] = 100
    with torch.no_grad():
        alone, beside = layer(row[None]), layer(torch.stack([row, loud]))[:1]
    assert torch.allclose(alone, beside, rtol=0, atol=1e-6) == apart


def test_a_guarantee_is_refused_where_rows_touch_each_other():
    def plan(bits):
        return PLAN.format(model="m", bits=bits) + CLASSIFICATION + PRIVATE

    Plan.from_text(plan("int4"))
    with pytest.raises(PlanError, match=r"model\.quantization: with int8 a row changes what") as refused:
        Plan.from_text(plan("int8"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_what_is_missing_is_one_line(monkeypatch, bits):
    settings = ModelSettings(name="m", quantization=bits)
    monkeypatch.setattr(quantization, "PACKAGES", ("no_such_package",))
    with pytest.raises(ModelError, match=r"needs the package no_such_package\. .*sealora\[quantization\]"):
        quantization.loading_options(settings, torch.device("cpu"), "causal_lm")
    with pytest.raises(ModelError, match=r"mps has no quantised base\. Set model\.device"):
        quantization.loading_options(settings, torch.device("mps"), "causal_lm")

"""Frozen layers computed once: the same model, and neither company nor order shows."""

import pytest
import torch

from sealora.client.per_example import PerExampleGradients, clipped_sum
from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import flatten
from sealora.models.base import load_base
from sealora.models.classification import Classification
from sealora.models.lora import initial_adapter
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.task import Example
from sealora.plan.loader import Plan
from sealora.protocol.errors import ModelError, PlanError
from sealora.strategies.strategy import Start

TASK = Classification(TaskSettings(labels=("negative", "positive"), max_length=16))
ROWS = [Example((2, *range(13, 13 + 1 + n % 7), 5 if n % 2 else 9, 3), n % 2) for n in range(24)]


@pytest.fixture(scope="module")
def make(tiny_model):
    def build(cached=True, **lora):
        base = load_base(ModelSettings(name=str(tiny_model), device="cpu"), TASK)
        settings = TrainingSettings(
            batch_size=8, learning_rate=0.05, optimizer="sgd", cache_frozen_layers=cached
        )
        return TorchTrainer(base, TASK, LoraSettings(**{"rank": 2, **lora}), settings, 1)

    return build


def trained(trainer, rows=ROWS, seed=bytes(32)):
    names = [spec.name for spec in trainer.layout.specs]
    tensors = initial_adapter(trainer.layout, 0).tensors
    for number in (1, 2):
        tensors = trainer.train(Start(tensors), names, rows, number, seed).tensors
    return torch.from_numpy(flatten(tensors, names))


@pytest.mark.parametrize("lora", [{"last_layers": 1}, {"rank": 0}])
def test_it_trains_and_measures_what_it_would_without(make, lora):
    cached, whole = make(**lora), make(cached=False, **lora)
    one, two = trained(cached), trained(whole)
    assert len(one) == len(two)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    tensors = initial_adapter(cached.layout, 0).tensors
    assert {k: list(v) for k, v in cached.evaluate(tensors, ROWS).items()} == {
        k: list(v) for k, v in whole.evaluate(tensors, ROWS).items()
    }


def test_only_the_last_layers_are_adapted(make):
    layers = {spec.module.split("encoder.layer.")[1][0] for spec in make(last_layers=1).layout.specs[:4]}
    assert layers == {"1"}
    assert len(make(last_layers=2, cached=False).layout.specs) == len(make(cached=False).layout.specs)
    with pytest.raises(ModelError, match="the model has 2 layers"):
        make(last_layers=3)


def test_frozen_layers_are_not_computed_again(make):
    trainer = make(last_layers=1)
    calls = []
    layer = trainer.model.base_model.model.bert.encoder.layer[0]
    layer.register_forward_hook(lambda *_: calls.append(1))
    trained(trainer)
    assert len(calls) == len({example.tokens for example in ROWS}), "once for each text, in two rounds"
    trainer.evaluate(initial_adapter(trainer.layout, 0).tensors, ROWS)
    trained(trainer.replica())
    assert len(calls) == len({example.tokens for example in ROWS})


def test_what_is_kept_does_not_depend_on_who_was_met_before(make):
    fresh, seasoned = make(last_layers=1), make(last_layers=1)
    seasoned.evaluate(initial_adapter(seasoned.layout, 0).tensors, list(reversed(ROWS)))
    assert torch.equal(trained(fresh), trained(seasoned))


def test_single_gradients_are_those_of_the_whole_model(make):
    sums = []
    for cached in (True, False):
        trainer = make(cached=cached, last_layers=1)
        first = initial_adapter(trainer.layout, 0).tensors
        parameters = trainer.prepare(first, list(first), bytes(32))
        gradients = PerExampleGradients(trainer.model, parameters)
        with gradients.recording():
            sums.append(clipped_sum(gradients.of(trainer.losses(ROWS)), parameters, 0.5))
    assert sums[0].norm() > 0.1
    torch.testing.assert_close(*sums, rtol=0, atol=1e-5)


def test_it_needs_layers_that_stay_as_they_are(make):
    with pytest.raises(ModelError, match="needs layers below the first adapted one"):
        make(last_layers=2)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "all layers are adapted"),
        ('task.name = "masked_pretraining"\nlora.last_layers = 1', "other rows every time"),
    ],
)
def test_plans_that_cannot_profit_are_refused(text, match):
    labels = "" if "task" in text else 'task.labels = ["a", "b"]\n'
    plan = f'schema = 1\nmodel.name = "m"\n{labels}{text}\ntraining.cache_frozen_layers = true\n'
    with pytest.raises(PlanError, match=match):
        Plan.from_text(plan)

"""Training language models: packed or not it is the same, under privacy each example is clipped alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sealora.client.private_trainer import PrivateTrainer
from sealora.client.self_test import check_training, synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.models import causal, token_scores
from sealora.models.base import base_hash, load_base
from sealora.models.lora import initial_adapter
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.task import load_task
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.errors import ModelError
from sealora.strategies.strategy import Start

EVERY_LAYER = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")


def task(**options):
    return load_task(TaskSettings(name="instruction_tuning", max_length=24, options=options))


def trainer(model, ours=None, modules=(), **settings):
    base = load_base(ModelSettings(name=str(model), device="cpu"), ours or task())
    plan = TrainingSettings(**{"batch_size": 8, "learning_rate": 0.01, "optimizer": "sgd", **settings})
    return TorchTrainer(base, ours or task(), LoraSettings(rank=2, target_modules=modules), plan, rounds=1)


def names(found):
    return [spec.name for spec in found.layout.specs]


def examples(count=16):
    draw = np.random.default_rng(0)
    return [task().synthetic(draw.integers(7, 24, draw.integers(3, 20)).tolist(), n) for n in range(count)]


def trained(found, rows):
    first = initial_adapter(found.layout, 0)
    return found.train(Start(first.tensors), names(found), rows, 1, bytes(32))


def test_packing_and_microbatches_change_nothing_but_the_time(tiny_chat_model):
    rows = examples()
    packed = trained(trainer(tiny_chat_model), rows)
    apart = trained(trainer(tiny_chat_model, task(packing=False)), rows)
    pieces = trained(trainer(tiny_chat_model, microbatch_size=2), rows)
    assert packed.loss == pytest.approx(apart.loss, rel=1e-5)
    for name, tensor in packed.tensors.items():
        np.testing.assert_allclose(tensor, apart.tensors[name], atol=1e-6)
        np.testing.assert_allclose(tensor, pieces.tensors[name], atol=1e-6)


def test_a_model_that_mixes_packed_rows_is_refused(tiny_chat_model, monkeypatch):
    """As one that takes no heed of positions would: here they are not told to it."""
    whole = token_scores.packed

    def blind(*arguments):
        batch = whole(*arguments)
        return replace(batch, inputs={"input_ids": batch.inputs["input_ids"]})

    monkeypatch.setattr(causal, "packed", blind)
    with pytest.raises(
        ModelError, match=r"packed texts see each other in this model\. Write packing = false"
    ):
        trainer(tiny_chat_model)
    trainer(tiny_chat_model, task(packing=False))


def test_rows_whose_sums_are_noised_are_not_packed(tiny_chat_model, monkeypatch):
    """What a row adds must not depend on its neighbours, though a model let packed rows see each other."""
    found, rows = trainer(tiny_chat_model), examples(6)
    first = initial_adapter(found.layout, 0).tensors
    whole = token_scores.packed
    monkeypatch.setattr(
        causal,
        "packed",
        lambda *given: replace(whole(*given), inputs={"input_ids": whole(*given).inputs["input_ids"]}),
    )
    together = dict(found.rows(first, rows))
    for number, row in enumerate(rows):
        ((_, alone),) = found.rows(first, [row])
        for part, counts in alone.items():
            np.testing.assert_allclose(together[number][part], counts, rtol=1e-5)


def test_the_objective_is_the_mean_over_tokens(tiny_chat_model):
    """As a trainer that pads has it, however the tokens are shared out among the rows."""
    found, rows = trainer(tiny_chat_model, batch_size=4), examples(4)
    first = initial_adapter(found.layout, 0)
    parameters = found.prepare(first.tensors, names(found), bytes(32))
    tokens = sum(len(row.target) for row in rows)
    total = sum(loss * len(row.target) for row, loss in zip(rows, found.losses(rows), strict=True))
    gradients = torch.autograd.grad(total / tokens, list(parameters.values()))
    after = trained(found, rows).tensors
    size = 0.01 * min(1.0, 1.0 / float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))
    for (name, _), gradient in zip(parameters.items(), gradients, strict=True):
        np.testing.assert_allclose(after[name], first.tensors[name] - size * gradient.numpy(), atol=1e-6)


@pytest.mark.parametrize("unit", ["record", "group"])
def test_the_private_start_finds_gradients_by_example(tiny_chat_model, unit):
    inner = trainer(tiny_chat_model, modules=EVERY_LAYER)
    promise = PrivacySettings(
        guarantee="record",
        unit=unit,
        epsilon=1e6,
        delta=1e-5,
        noise_multiplier=1.0,
        clipping_norm=0.1,
        sampling_rate=0.5,
        expected_batch=8.0,
        steps_per_round=2,
    )
    private = PrivateTrainer(inner, promise, schedule(promise, 1, 1), 3, synthetic_examples(task(), 24))
    rows = [replace(row, group=number % 5) for number, row in enumerate(examples())]
    first = initial_adapter(inner.layout, 0)
    after = private.train(Start(first.tensors), names(inner), rows, 1, bytes(32))
    assert any(not np.array_equal(after.tensors[name], first.tensors[name]) for name in names(inner))


def test_layers_that_are_computed_again_give_the_same(tiny_chat_model):
    rows = examples()
    kept = trained(trainer(tiny_chat_model), rows)
    again = trained(trainer(tiny_chat_model, gradient_checkpointing=True), rows)
    assert again.loss == kept.loss
    for name, tensor in kept.tensors.items():
        np.testing.assert_allclose(again.tensors[name], tensor, atol=1e-7)


def test_fewer_values_are_kept_where_layers_are_computed_again(tiny_chat_model):
    def kept(**settings):
        found, saved = trainer(tiny_chat_model, **settings), []
        first = initial_adapter(found.layout, 0)
        found.prepare(first.tensors, names(found), bytes(32))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
            found.losses(examples())
        return sum(saved)

    assert kept(gradient_checkpointing=True) < kept() / 2


def test_gradients_by_example_do_not_mind_layers_that_are_computed_again(tiny_chat_model):
    found = trainer(tiny_chat_model, gradient_checkpointing=True)
    check_training(
        found,
        found.layout,
        synthetic_examples(task(), 24),
        lambda parameters, batch: _step(found, parameters, batch),
    )


def _step(found, parameters, batch):
    found.losses(batch).sum().backward()
    found.optimizer(list(parameters.values())).step()


def test_the_last_layer_is_frozen_and_part_of_the_models_name(tiny_chat_model):
    base = load_base(ModelSettings(name=str(tiny_chat_model), device="cpu"), task())
    before = base_hash(base)
    with torch.no_grad():
        base.model.lm_head.weight[0, 0] += 1
    assert base_hash(base) != before
    assert all("lora_" in name for name in names(trainer(tiny_chat_model)))


def test_an_encoder_is_no_causal_model(tiny_model):
    with pytest.raises(ModelError):
        trainer(tiny_model)

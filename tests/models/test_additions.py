"""R and W beside A and B: what the layers compute, and that the base, which others share, stays as it is."""

import copy

import numpy as np
import pytest
import torch
from peft import PeftModel

from sealora.models import lora
from sealora.models.adapter import Adapter, cut, pasted
from sealora.models.names import core_of, residual_of
from sealora.models.settings import LoraSettings

TOKENS = torch.tensor([[5, 6, 7, 8], [9, 5, 4, 11]])
RANK = 3


@pytest.fixture
def fresh(tiny_model):
    """A function that loads the tiny BERT."""
    from transformers import AutoModelForSequenceClassification

    return lambda: AutoModelForSequenceClassification.from_pretrained(tiny_model).eval()


@pytest.fixture
def model(fresh):
    base = fresh().requires_grad_(False)
    return lora.attach(base, LoraSettings(rank=RANK, alpha=6.0), "sequence_classification").eval()


def noise(layout, seed=1):
    random = np.random.default_rng(seed)
    return {spec.name: random.normal(0, 0.3, spec.shape).astype(np.float32) for spec in layout.specs}


def residuals(layout, seed=2):
    random = np.random.default_rng(seed)
    return {
        residual_of(a.module): random.normal(0, 0.3, (b.shape[0], a.shape[1])).astype(np.float32)
        for a, b in layout.pairs
    }


def cores(layout, seed=3):
    random = np.random.default_rng(seed)
    return {
        core_of(a.module): random.normal(0, 1, (a.shape[0], a.shape[0])).astype(np.float32)
        for a, _ in layout.pairs
    }


@torch.no_grad()
def output(model):
    return model(input_ids=TOKENS).logits.numpy()


def written(model, tensors):
    lora.write(model, tensors)
    return output(model)


def digest(model):
    return [tensor.numpy().tobytes() for tensor in lora.frozen_tensors(model)]


def test_w_is_added_to_the_modules_own_weight(fresh, model):
    layout = lora.layout_of(model)
    tensors, added = noise(layout), residuals(layout)
    changed = fresh().requires_grad_(False)
    for a, _ in layout.pairs:
        linear = changed.get_submodule(a.module.removeprefix("base_model.model."))
        linear.weight.data += torch.from_numpy(added[residual_of(a.module)])
    settings = LoraSettings(rank=RANK, alpha=6.0)
    other = lora.attach(changed, settings, "sequence_classification").eval()
    expected = written(other, tensors)
    assert np.abs(written(model, tensors) - expected).max() > 1e-2
    np.testing.assert_allclose(written(model, {**tensors, **added}), expected, atol=2e-6)


def test_r_stands_between_a_and_b(model):
    layout = lora.layout_of(model)
    tensors, between = noise(layout), cores(layout)
    folded = {b.name: tensors[b.name] @ between[core_of(b.module)] for _, b in layout.pairs}
    expected = written(model, {**tensors, **folded})
    found = written(model, {**tensors, **between})
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.abs(found - written(model, tensors)).max() > 1e-2
    assert set(lora.read(model)) == set(tensors), "R is gone when tensors without it are written"


def test_r_is_read_and_trained(model):
    layout = lora.layout_of(model)
    tensors = {**noise(layout), **cores(layout)}
    lora.write(model, tensors)
    found = lora.read(model)
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in tensors.items()
    }
    model(input_ids=TOKENS).logits.sum().backward()
    parameters = lora.parameters_of(model)
    assert all(parameters[name].grad.any() for name in cores(layout))


def test_what_was_added_goes_with_the_next_adapter(model):
    layout = lora.layout_of(model)
    tensors = noise(layout)
    before, base = written(model, tensors), digest(model)
    written(model, {**tensors, **residuals(layout), **cores(layout)})
    written(model, cut(tensors, layout.of_rank(1)))
    assert np.array_equal(written(model, tensors), before)
    assert digest(model) == base


def test_an_adapter_of_a_smaller_rank_is_one_filled_up_with_zeros(model):
    layout = lora.layout_of(model)
    small = cut(noise(layout), layout.of_rank(1))
    filled = pasted(small, {spec.name: np.zeros(spec.shape, np.float32) for spec in layout.specs})
    found = written(model, small)
    layout.of_rank(1).check(lora.read(model))
    np.testing.assert_allclose(found, written(model, filled), atol=2e-6)


def test_copies_of_a_model_have_their_own_additions_and_share_the_base(model):
    layout = lora.layout_of(model)
    tensors = noise(layout)
    whole = {**tensors, **residuals(layout), **cores(layout)}
    expected = written(model, whole)
    shared = {id(tensor) for tensor in lora.frozen_tensors(model)}
    other = copy.deepcopy(model, {id(tensor): tensor for tensor in lora.frozen_tensors(model)})
    assert np.array_equal(output(other), expected)
    plain = written(other, tensors)
    assert np.array_equal(output(model), expected)
    assert np.array_equal(written(model, tensors), plain)
    assert {id(tensor) for tensor in lora.frozen_tensors(other)} == shared


@pytest.mark.parametrize("rank", [1, 8])
def test_plain_peft_loads_adapters_of_another_rank(fresh, model, tmp_path, rank):
    layout = lora.layout_of(model)
    adapter = Adapter(layout.of_rank(rank), noise(layout.of_rank(rank)))
    lora.save(adapter, model, tmp_path)
    assert lora.load(layout, tmp_path).sha256() == adapter.sha256()
    theirs = PeftModel.from_pretrained(fresh(), tmp_path).eval()
    np.testing.assert_allclose(output(theirs), written(model, adapter.tensors), atol=2e-6)
    lora.save(Adapter(layout, noise(layout)), model, tmp_path / "own")
    assert lora.load(layout, tmp_path / "own").layout.rank == RANK, "saving another rank left no trace"

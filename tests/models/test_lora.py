"""LoRA on tiny random models of five architectures: targets, layouts, values, and peft's own files."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    RobertaConfig,
)

from sealora.models import lora
from sealora.models.adapter import Adapter, pack
from sealora.models.settings import LoraSettings
from sealora.protocol.errors import ModelError

SMALL = {"vocab_size": 40, "num_labels": 2, "pad_token_id": 0}
WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONFIGS = {
    "bert": (BertConfig(**SMALL, **WIDTH), {"query", "value"}),
    "roberta": (RobertaConfig(**SMALL, **WIDTH), {"query", "value"}),
    "distilbert": (
        DistilBertConfig(**SMALL, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
        {"q_lin", "v_lin"},
    ),
    "gpt2": (GPT2Config(**SMALL, n_embd=16, n_layer=2, n_head=2), {"c_attn"}),
    "llama": (LlamaConfig(**SMALL, **WIDTH), {"q_proj", "v_proj"}),
}


def fresh(name):
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(CONFIGS[name][0])


def attached(name, **options):
    return lora.attach(
        fresh(name), LoraSettings(**{"rank": 2, "alpha": 8.0, **options}), "sequence_classification"
    )


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return attached(name)


def noise(layout, seed=0):
    draw = np.random.default_rng(seed)
    return {spec.name: draw.normal(size=spec.shape).astype(np.float32) for spec in layout.specs}


def test_the_attentions_projections_are_found(name, model):
    layout = lora.layout_of(model)
    adapted = {spec.module.rsplit(".", 1)[-1] for spec in layout.specs if spec.module}
    assert adapted == CONFIGS[name][1]
    pairs = [spec for spec in layout.specs if spec.role != "other"]
    assert len(pairs) == 2 * 2 * len(adapted), "A and B in both layers"
    for spec in pairs:
        assert spec.shape[0 if spec.role == "A" else 1] == 2
        assert spec.scale == 4.0


def test_the_head_is_part_of_the_adapter(model):
    """Every parameter that is no pair's belongs to a head of two outputs at the end."""
    head = [spec for spec in lora.layout_of(model).specs if spec.role == "other"]
    assert head
    assert all({"classifier", "pre_classifier", "score"} & set(spec.name.split(".")) for spec in head)
    assert (2, 16) in [spec.shape for spec in head]


def test_exactly_the_adapter_requires_gradients(model):
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(names) == len(lora.parameters_of(model))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == lora.layout_of(model).parameters


def test_values_are_written_and_read_bit_for_bit(model):
    layout = lora.layout_of(model)
    tensors = noise(layout)
    lora.write(model, tensors)
    found = lora.read(model)
    layout.check(found)
    assert all(found[name].tobytes() == tensors[name].tobytes() for name in tensors)


def test_what_was_read_is_a_copy(model):
    before = lora.read(model)
    kept = {name: tensor.copy() for name, tensor in before.items()}
    lora.write(model, noise(lora.layout_of(model)))
    assert all(np.array_equal(before[name], kept[name]) for name in kept)


def test_first_values_depend_on_the_seed_alone(model):
    layout = lora.layout_of(model)
    first = lora.initial_adapter(layout, 7)
    assert lora.initial_adapter(layout, 7).sha256() == first.sha256()
    assert lora.initial_adapter(layout, 8).sha256() != first.sha256()
    for spec in layout.specs:
        values = first.tensors[spec.name]
        if spec.role == "A":
            assert 0 < np.abs(values).max() <= spec.shape[1] ** -0.5
        elif spec.role == "B" or len(spec.shape) == 1:
            assert not values.any()
        else:
            assert values.std() == pytest.approx(0.02, rel=0.3)


def test_a_fresh_adapter_changes_no_layer(name):
    """B is zero, so the adapted layers compute what the base's do."""
    base, model = fresh(name).eval(), attached(name).eval()
    lora.write(model, lora.initial_adapter(lora.layout_of(model), 0).tensors)
    tokens = torch.tensor([[5, 6, 7, 8]])
    ours = model.base_model.model.base_model(input_ids=tokens).last_hidden_state
    assert torch.equal(ours, base.base_model(input_ids=tokens).last_hidden_state)


def test_plain_peft_loads_what_was_saved(name, tmp_path):
    model = attached(name)
    adapter = Adapter(lora.layout_of(model), noise(lora.layout_of(model)))
    lora.save(adapter, model, tmp_path)
    theirs = PeftModel.from_pretrained(fresh(name), tmp_path)
    found = lora.read(theirs)
    assert all(found[key].tobytes() == tensor.tobytes() for key, tensor in adapter.tensors.items())
    lora.write(model, adapter.tensors)
    tokens = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        assert torch.equal(model.eval()(input_ids=tokens).logits, theirs.eval()(input_ids=tokens).logits)


def test_rank_0_leaves_the_head_alone_and_plain_peft_loads_it(name, tmp_path):
    model = attached(name, rank=0)
    layout = lora.layout_of(model)
    whole = lora.layout_of(attached(name))
    assert layout.rank == 0
    assert layout.specs == tuple(spec for spec in whole.specs if spec.role == "other")
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == layout.parameters
    adapter = Adapter(layout, noise(layout))
    lora.write(model, adapter.tensors)
    lora.save(adapter, model, tmp_path)
    theirs = PeftModel.from_pretrained(fresh(name), tmp_path).eval()
    tokens = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        assert torch.equal(model.eval()(input_ids=tokens).logits, theirs(input_ids=tokens).logits)


def test_saved_and_loaded(tmp_path, model):
    adapter = Adapter(lora.layout_of(model), noise(lora.layout_of(model)))
    lora.save(adapter, model, tmp_path)
    assert lora.load(adapter.layout, tmp_path).sha256() == adapter.sha256()
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="there is no adapter at"):
        lora.load(adapter.layout, tmp_path)


def test_an_adapter_of_two_ranks_is_refused(tmp_path):
    """A strategy's model may have another rank than the plan's adapters, but one only."""
    model = attached("bert")
    layout = lora.layout_of(model)
    lora.save(Adapter(layout, noise(layout)), model, tmp_path)
    assert lora.load(layout.of_rank(3), tmp_path).layout.rank == layout.rank
    odd = {spec.name: np.zeros(spec.shape, np.float32) for spec in layout.specs}
    odd[layout.pairs[-1][1].name] = np.zeros((16, 3), np.float32)
    (tmp_path / "adapter_model.safetensors").write_bytes(pack(odd))
    with pytest.raises(ModelError, match="the plan says"):
        lora.load(layout, tmp_path)


def test_a_missing_value_is_an_error():
    model = attached("bert")
    tensors = noise(lora.layout_of(model))
    tensors.popitem()
    with pytest.raises(KeyError):
        lora.write(model, tensors)


def test_named_targets():
    layout = lora.layout_of(attached("bert", target_modules=("key", "output.dense")))
    assert {spec.module.split("layer.")[1][2:] for spec in layout.specs if spec.module} == {
        "attention.self.key", "attention.output.dense", "output.dense",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "linear"),
    [
        ("bert", "dense, key, query, value"),
        ("gpt2", "c_attn, c_fc, c_proj"),
        ("llama", "down_proj, gate_proj, k_proj"),
    ],
)
def test_wrong_targets_are_told_with_those_there_are(name, linear):
    with pytest.raises(ModelError) as caught:
        attached(name, target_modules=("nope",))
    assert str(caught.value).startswith("the model has no linear layer 'nope' for lora.target_modules.")
    assert f"Linear layers: {linear}" in str(caught.value)


@pytest.mark.parametrize("target", ["LayerNorm", "word_embeddings"])
def test_only_linear_layers_are_adapted(target):
    with pytest.raises(ModelError, match="no linear layer"):
        attached("bert", target_modules=(target,))


def test_an_unknown_architecture_is_adapted_by_its_layers_names():
    class Layer(torch.nn.Module):
        def __init__(self, *names):
            super().__init__()
            for name in names:
                setattr(self, name, torch.nn.Linear(2, 2))

    assert lora.find_targets(Layer("q_proj", "k_proj", "v_proj")) == ("q_proj", "v_proj")
    with pytest.raises(ModelError, match=r"Set lora\.target_modules to some of: left, right"):
        lora.find_targets(Layer("left", "right"))


def test_the_adapter_and_head_are_float32_on_a_half_precision_base(name):
    model = lora.attach(fresh(name).bfloat16(), LoraSettings(rank=2), "sequence_classification")
    assert {parameter.dtype for parameter in lora.parameters_of(model).values()} == {torch.float32}
    assert {tensor.dtype for tensor in lora.frozen_tensors(model) if tensor.is_floating_point()} >= {
        torch.bfloat16
    }

"""Base models: found, loaded frozen, named by their hash, or refused in one line."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertConfig, GPT2Config, LlamaConfig, RobertaConfig

from sealora.models.base import (
    _positions,
    base_hash,
    choose_device,
    choose_dtype,
    describe,
    load_base,
    locate,
)
from sealora.models.classification import Classification
from sealora.models.lora import attach, layout_of
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings
from sealora.protocol.errors import ModelError

TASK = TaskSettings(labels=("no", "yes", "maybe"), max_length=16)


def load(name, **options):
    return load_base(ModelSettings(name=str(name), device="cpu", **options), Classification(TASK))


@pytest.fixture(scope="module")
def base(tiny_model):
    return load(tiny_model)


def test_a_base_is_frozen_and_has_the_tasks_head(base):
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training
    assert base.model.config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert base.tokenizer("good film")["input_ids"] == [2, 5, 14, 3]
    assert base.autocast is None
    assert next(base.model.parameters()).dtype == torch.float32


def test_the_hash_is_that_of_weights_and_tokenizer(base, tiny_model, tmp_path):
    assert base_hash(load(tiny_model)) == base_hash(base), "the head is random each time and left out"
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    assert base_hash(load(copy)) == base_hash(base), "the folder's name does not matter"
    text = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(text.replace('"warm"', '"wurm"'))
    assert base_hash(load(copy)) != base_hash(base)
    other = load(tiny_model)
    with torch.no_grad():
        next(iter(other.model.base_model.parameters()))[0, 0] += 1
    assert base_hash(other) != base_hash(base)


def test_a_description_needs_no_weights(base, tiny_model, tmp_path):
    folder = tmp_path / "configuration"
    folder.mkdir()
    shutil.copy(tiny_model / "config.json", folder)
    settings = LoraSettings(rank=3)
    layout = describe(ModelSettings(name=str(folder)), settings, TASK)
    assert layout == layout_of(attach(load(tiny_model).model, settings, "sequence_classification"))


def truncated(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])


BROKEN = {
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "a broken configuration": lambda folder: (folder / "config.json").write_text("{"),
    "an unknown kind": lambda folder: (folder / "config.json").write_text('{"model_type": "nope"}'),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "damaged weights": truncated,
    "a broken tokenizer": lambda folder: (folder / "tokenizer.json").write_text("{"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_folder_is_one_line(tiny_model, tmp_path, case):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model, folder)
    BROKEN[case](folder)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert f"the model {str(folder)!r} cannot be loaded: " in str(caught.value)
    assert caught.value.remedy


def without_pooler(folder):
    """Weights as a checkpoint trained for another purpose has them."""
    tensors = load_file(folder / "model.safetensors")
    save_file({name: t for name, t in tensors.items() if "pooler" not in name}, folder / "model.safetensors")


def many_words(folder):
    text = json.loads((folder / "tokenizer.json").read_text())
    text["model"]["vocab"] |= {f"word{number}": 100 + number for number in range(50)}
    (folder / "tokenizer.json").write_text(json.dumps(text))


UNFIT = {
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("*token*")],
        "has no tokenizer. Save its tokenizer into the same folder.",
    ),
    "another model's tokenizer": (many_words, "more than the model knows."),
    "a base without some weights": (
        without_pooler,
        "lacks weights of its base: bert.pooler.dense.bias, bert.pooler",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_transformers_would_make_up_is_refused(tiny_model, tmp_path, case):
    damage, message = UNFIT[case]
    folder = tmp_path / "unfit"
    shutil.copytree(tiny_model, folder)
    damage(folder)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert message in str(caught.value)


def test_texts_longer_than_the_model_reads_are_refused(tiny_model):
    task = Classification(TaskSettings(labels=("no", "yes"), max_length=33))
    with pytest.raises(
        ModelError, match=r"reads at most 32 tokens, task\.max_length is 33\. Set task\.max_length"
    ):
        load_base(ModelSettings(name=str(tiny_model), device="cpu"), task)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (BertConfig(hidden_size=8, num_attention_heads=2, max_position_embeddings=20), 20),
        (RobertaConfig(hidden_size=8, num_attention_heads=2, max_position_embeddings=20, pad_token_id=1), 18),
        (GPT2Config(n_embd=8, n_head=2, n_positions=20), 20),
        (LlamaConfig(hidden_size=8, num_attention_heads=2, max_position_embeddings=20), None),
    ],
    ids=["bert", "roberta", "gpt2", "llama"],
)
def test_the_longest_text_by_architecture(config, positions):
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    assert _positions(model) == positions


def test_a_model_that_no_hub_was_asked_for():
    """HF_HUB_OFFLINE is set: nothing is looked up, and the line says what would help."""
    with pytest.raises(ModelError) as caught:
        load("nobody/nothing")
    assert str(caught.value).startswith("the model 'nobody/nothing' cannot be loaded: ")
    assert "HF_HUB_OFFLINE=1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["./missing", "/missing/model", "~/missing", "~nobody-at-all/m", "/" + "x" * 5000, "a/b/c"]
)
def test_a_folder_that_is_not_there(name):
    with pytest.raises(ModelError, match="there is no model folder"):
        locate(ModelSettings(name=name))


def test_names_and_folders(tmp_path, monkeypatch):
    assert locate(ModelSettings(name="bert-base-uncased")) == "bert-base-uncased"
    assert locate(ModelSettings(name=str(tmp_path))) == str(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert locate(ModelSettings(name="~/model")) == str(tmp_path / "model")


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device(ModelSettings(name="x")) == "cpu"
    with pytest.raises(ModelError, match="this machine has no cuda device"):
        choose_device(ModelSettings(name="x", device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(ModelSettings(name="x")) == "cuda"


@pytest.mark.parametrize(
    ("dtype", "device", "expected"),
    [
        ("auto", "cpu", (torch.float32, None)),
        ("auto", "cuda", (torch.float32, torch.bfloat16)),
        ("float32", "cuda", (torch.float32, None)),
        ("bfloat16", "cpu", (torch.bfloat16, torch.bfloat16)),
    ],
)
def test_number_formats(dtype, device, expected):
    assert choose_dtype(ModelSettings(name="x", dtype=dtype), torch.device(device)) == expected

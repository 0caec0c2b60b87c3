"""Continued pretraining: what is learnt, what is hidden, and that both are the same in any batch."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from sealora.models.base import load_base
from sealora.models.cleaning import clean
from sealora.models.pretraining import CausalPretraining, MaskedPretraining
from sealora.models.settings import DataSettings, ModelSettings, TaskSettings
from sealora.models.token_scores import LEFT_OUT
from sealora.protocol.errors import ModelError, PlanError, UsageError

TEXTS = ["the film was good", "", "people in town", "the film was good", "a " * 40]


def causal(**options):
    return CausalPretraining(TaskSettings(name="causal_pretraining", max_length=12, options=options))


def masked(**options):
    return MaskedPretraining(TaskSettings(name="masked_pretraining", max_length=24, options=options))


def cleaned(task, tokenizer, texts=TEXTS):
    return clean(datasets.Dataset.from_dict({"text": texts}), DataSettings(), task, tokenizer)


@pytest.fixture(scope="module")
def chat_base(tiny_chat_model):
    return load_base(ModelSettings(name=str(tiny_chat_model), device="cpu"), causal())


@pytest.fixture(scope="module")
def masked_base(save_tiny_bert):
    return load_base(ModelSettings(name=str(save_tiny_bert("BertForMaskedLM")), device="cpu"), masked())


def test_every_token_but_the_first_is_learnt_and_the_end(chat_base):
    rows, report = cleaned(causal(), chat_base.tokenizer)
    assert report.dropped == {"empty_text": 1, "duplicate": 1}
    assert report.truncated == 1
    first, *_, cut = [row.example for row in rows]
    assert first.target == (1, 2, 3, 4)
    assert first.tokens[-1] == chat_base.tokenizer.eos_token_id
    assert len(cut.tokens) == 12
    assert cut.tokens[-1] != chat_base.tokenizer.eos_token_id, "what is cut has not ended"


def test_words_are_hidden_and_frames_are_not(masked_base):
    tokenizer = masked_base.tokenizer
    rows, _ = cleaned(masked(masked=0.5), tokenizer)
    batch = masked(masked=0.5).collate([row.example for row in rows], tokenizer, bytes(32), packed=True)
    hidden = (batch.targets != LEFT_OUT).sum(dim=1)
    assert hidden.tolist() == [row.example.weight for row in rows] == [2, 2, 11]
    assert not set(batch.targets.flatten().tolist()) & set(tokenizer.all_special_ids)
    assert (batch.inputs["input_ids"][:, 0] == tokenizer.cls_token_id).all()


def test_the_same_seed_hides_the_same_words_in_any_batch(masked_base):
    ours, tokenizer = masked(), masked_base.tokenizer
    examples = [ours.synthetic(list(range(5, 5 + n)), 0) for n in (6, 12, 9)]

    def hidden(chosen, seed):
        return ours.collate(chosen, tokenizer, seed, packed=False)

    together = hidden(examples, bytes(32))
    for row, example in enumerate(examples):
        alone = hidden([example], bytes(32))
        length = len(example.tokens)
        assert torch.equal(alone.inputs["input_ids"][0], together.inputs["input_ids"][row, :length])
    assert any(
        not torch.equal(hidden(examples, bytes([n] * 32)).targets, together.targets) for n in range(1, 5)
    )


def test_eight_of_ten_become_the_mask(masked_base):
    ours, tokenizer = masked(masked=0.9), masked_base.tokenizer
    examples = [ours.synthetic(np.random.default_rng(n).integers(5, 23, 20).tolist(), 0) for n in range(200)]
    batch = ours.collate(examples, tokenizer, bytes(32), packed=False)
    seen = batch.inputs["input_ids"][batch.places["rows"], batch.places["columns"]]
    assert float((seen == tokenizer.mask_token_id).float().mean()) == pytest.approx(0.8, abs=0.03)
    assert float((seen == batch.targets).float().mean()) == pytest.approx(0.1, abs=0.03)


def test_masks_are_filled_in(masked_base):
    ours, tokenizer = masked(), masked_base.tokenizer
    reader = SimpleNamespace(model=masked_base.model, tokenizer=tokenizer)
    (prediction,) = ours.predict(reader, [ours.prompt("the [MASK] was [MASK]", tokenizer)])
    assert [len(found) for found in prediction["masks"]] == [5, 5]
    assert len(ours.line(prediction).split()) == 2
    with pytest.raises(UsageError, match=r"no word to fill in\. Write \[MASK\]"):
        ours.prompt("the film", tokenizer)


@pytest.mark.parametrize("task", [causal(), masked()])
def test_there_are_no_classes(task):
    with pytest.raises(PlanError, match="no classes"):
        task.class_bias([])


def test_a_model_that_never_filled_in_words_is_refused(tiny_model):
    with pytest.raises(ModelError, match="lacks weights of its base: cls"):
        load_base(ModelSettings(name=str(tiny_model), device="cpu"), masked())

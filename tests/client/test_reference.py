"""What the base alone makes of an example: computed once, with the adapter off, and no trace left."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from sealora.client.private_trainer import PrivateTrainer
from sealora.client.references import References
from sealora.client.self_test import synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.models import lora
from sealora.models.base import load_base
from sealora.models.names import residual_of
from sealora.models.preference import PreferenceTuning
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.task import Example, Record
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings
from sealora.strategies.strategy import Start

TASK = PreferenceTuning(TaskSettings(name="preference_tuning", max_length=24, options={"beta": 0.5}))
WORDS = ("good", "warm", "bright", "kind", "bad", "cold", "dull", "cruel")


@pytest.fixture
def base(tiny_chat_model):
    return load_base(ModelSettings(name=str(tiny_chat_model), device="cpu"), TASK)


@pytest.fixture
def examples(base):
    asked = (("user", "the film was"),)
    pairs = [
        Record((asked, f"a {chosen} story", f"{rejected}"))
        for chosen, rejected in zip(WORDS, WORDS[::-1], strict=True)
    ]
    return [example for example, _ in TASK.encode(pairs, base.tokenizer)]


def fresh(base):
    """The base without what an earlier trainer attached to it."""
    return replace(base, model=copy.deepcopy(base.model))


@pytest.fixture
def trainer(base):
    training = TrainingSettings(optimizer="sgd", learning_rate=0.5, batch_size=4, threads=1)
    return TorchTrainer(fresh(base), TASK, LoraSettings(rank=2), training, 1)


def adapter(trainer, seed=1):
    """Values that change what the model says."""
    draw = np.random.default_rng(seed)
    return {spec.name: draw.normal(0, 0.3, spec.shape).astype(np.float32) for spec in trainer.layout.specs}


def names(trainer):
    return [spec.name for spec in trainer.layout.specs]


def nothing(trainer):
    return {spec.name: np.zeros(spec.shape, np.float32) for spec in trainer.layout.specs}


def test_the_reference_is_the_base_whatever_the_adapter_is(trainer, examples):
    metrics = {}
    for name, tensors in (("base", nothing(trainer)), ("trained", adapter(trainer))):
        sums = trainer.evaluate(tensors, examples)
        metrics[name] = TASK.metrics({part: counts.astype(float) for part, counts in sums.items()})
    assert metrics["base"]["margin"] == pytest.approx(0.0, abs=1e-4)
    assert abs(metrics["trained"]["chosen_reward"]) > 0.1


def test_it_is_computed_once_for_an_example(trainer, examples, monkeypatch):
    asked = []
    switched_off = lora.switched_off
    monkeypatch.setattr(lora, "switched_off", lambda model: asked.append(1) or switched_off(model))
    start = Start(adapter(trainer))
    trainer.evaluate(start.tensors, examples)
    trainer.train(start, names(trainer), examples, 1, bytes(32))
    trainer.replica().evaluate(start.tensors, examples)
    assert len(asked) == len(examples)


def same(one, other):
    """Whether the same is known of the same examples, bit for bit."""
    known, others = one._known, other._known
    return known.keys() == others.keys() and all(torch.equal(known[key], others[key]) for key in known)


def test_no_more_is_kept_than_fits_and_what_was_dropped_is_computed_again(examples):
    asked, kept = [], References(most=2)

    def ask(number):
        return kept.of(examples[number], lambda: asked.append(number) or torch.tensor([float(number)]))

    for number in (0, 1, 0, 2, 0, 1):
        assert float(ask(number)) == number
        assert len(kept) <= 2
    assert asked == [0, 1, 2, 1]
    assert not any(isinstance(held, Example) for pair in kept._known.items() for held in pair)


def test_it_does_not_matter_when_or_with_whom_it_is_computed(base, trainer, examples):
    other = TorchTrainer(fresh(base), TASK, LoraSettings(rank=2), TrainingSettings(threads=1), 1)
    start = Start(adapter(trainer))
    before = trainer.train(start, names(trainer), examples, 1, bytes(32))
    trainer.evaluate(start.tensors, examples)
    other.evaluate(adapter(trainer, 2), examples[::-1])
    assert same(trainer._references, other._references)
    after = trainer.train(start, names(trainer), examples, 1, bytes(32))
    assert all(np.array_equal(before.tensors[name], after.tensors[name]) for name in before.tensors)


def test_what_a_strategy_adds_to_the_base_is_no_part_of_the_reference(base, trainer, examples):
    """Of two pairs, one is met before and one after weights were added (fedex, flora)."""
    other = TorchTrainer(fresh(base), TASK, LoraSettings(rank=2), TrainingSettings(threads=1), 1)
    draw = np.random.default_rng(3)
    added = {
        residual_of(a.module): draw.normal(0, 0.5, (b.shape[0], a.shape[1])).astype(np.float32)
        for a, b in trainer.layout.pairs
    }
    trainer.evaluate(adapter(trainer), examples)
    plain = other.evaluate(adapter(other), examples[:1])
    changed = other.evaluate({**adapter(other), **added}, examples)
    assert same(trainer._references, other._references)
    assert not np.array_equal(plain["rewards"], changed["rewards"])


def test_what_is_frozen_in_a_round_stays_frozen(trainer, examples):
    chosen = [name for name in names(trainer) if "lora_B" in name]
    start = Start(adapter(trainer))
    after = trainer.train(start, chosen, examples, 1, bytes(32))
    moved = {
        name for name, tensor in after.tensors.items() if not np.array_equal(tensor, start.tensors[name])
    }
    assert moved == set(chosen)


def test_training_raises_the_margin(trainer, examples):
    tensors = {**nothing(trainer), **{n: t for n, t in adapter(trainer).items() if "lora_A" in n}}
    for round_number in range(5):
        tensors = trainer.train(
            Start(tensors), names(trainer), examples, 1, bytes([round_number] * 32)
        ).tensors
    sums = trainer.evaluate(tensors, examples)
    found = TASK.metrics({part: counts.astype(float) for part, counts in sums.items()})
    assert found["margin"] > 0.2
    assert found["accuracy"] > 0.9


def test_pairs_are_clipped_one_by_one_with_a_privacy_guarantee(trainer, examples):
    """The self-test compares single gradients with looped ones, and groups of pairs likewise."""
    promise = PrivacySettings(
        guarantee="record",
        epsilon=1e6,
        delta=1e-5,
        noise_multiplier=1e-3,
        sampling_rate=1.0,
        expected_batch=float(len(examples)),
        steps_per_round=1,
        clipping_norm=1e-3,
    )
    private = PrivateTrainer(trainer, promise, schedule(promise, 1, 1), 0, synthetic_examples(TASK, 23))
    start = Start(adapter(trainer))
    after = private.train(start, names(trainer), examples, 1, bytes(32)).tensors
    step = torch.cat([torch.from_numpy(after[n] - start.tensors[n]).reshape(-1) for n in names(trainer)])
    assert 0 < float(step.norm()) <= 0.5 * 1e-3 * 1.5

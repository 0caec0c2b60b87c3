"""DP-SGD on a tiny BERT: gradients by example, clipping, sampling, noise, and the self-test."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sealora.client import self_test
from sealora.client.per_example import PerExampleGradients, clipped_sum, example_norms
from sealora.client.private_trainer import PrivateTrainer
from sealora.client.self_test import synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import flatten
from sealora.models.base import load_base
from sealora.models.classification import Classification
from sealora.models.lora import initial_adapter
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.task import Example
from sealora.privacy.sampling import poisson_sample
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.errors import ModelError, RunError
from sealora.strategies.strategy import Start

TASK = Classification(TaskSettings(labels=("negative", "positive"), max_length=16))
SYNTHETIC = synthetic_examples(TASK, 23)
PROMISE = {
    "guarantee": "record",
    "epsilon": 1e6,
    "delta": 1e-5,
    "noise_multiplier": 1.0,
    "expected_batch": 20.0,
    "steps_per_round": 1,
}


@pytest.fixture(scope="module")
def inner(tiny_model):
    base = load_base(ModelSettings(name=str(tiny_model), device="cpu"), TASK)
    training = TrainingSettings(optimizer="sgd", learning_rate=1.0, threads=1)
    return TorchTrainer(base, TASK, LoraSettings(rank=2), training, 1)


def private(inner, microbatch=0, **changes):
    promise = PrivacySettings(**{"sampling_rate": 0.5, **PROMISE, **changes})
    return PrivateTrainer(inner, promise, schedule(promise, 1, 1), microbatch, SYNTHETIC)


def names(inner):
    return [spec.name for spec in inner.layout.specs]


def moved(trainer, inner, rows, start=None):
    """How far one round moves the adapter, end to end."""
    tensors = initial_adapter(inner.layout, 0).tensors if start is None else start
    after = trainer.train(Start(tensors), names(inner), rows, 1, bytes(32)).tensors
    return (flatten(after, names(inner)) - flatten(tensors, names(inner))).astype(np.float64)


def rows(count, seed=0):
    draw = np.random.default_rng(seed)
    return [
        Example((2, *map(int, draw.integers(5, 23, draw.integers(1, 10))), 3), n % 2) for n in range(count)
    ]


# --- gradients by example ---


def test_gradients_by_example_are_looped_ones(inner):
    start = self_test._start(inner.layout)
    parameters = inner.prepare(start, names(inner), bytes(32))
    examples = rows(6)
    recorder = PerExampleGradients(inner.model, parameters)
    with recorder.recording():
        found = recorder.of(inner.losses(examples))
    assert found.keys() == parameters.keys()
    assert all(parameter.grad is None for parameter in parameters.values())
    for number, example in enumerate(examples):
        looped = torch.autograd.grad(inner.losses([example]).sum(), list(parameters.values()))
        for name, gradient in zip(parameters, looped, strict=True):
            torch.testing.assert_close(found[name][number], gradient, rtol=1e-4, atol=1e-6)


def test_only_what_trains_gets_a_gradient(inner):
    chosen = [name for name in names(inner) if ".lora_B." in name]
    parameters = inner.prepare(self_test._start(inner.layout), chosen, bytes(32))
    recorder = PerExampleGradients(inner.model, parameters)
    with recorder.recording():
        found = recorder.of(inner.losses(rows(3)))
    assert set(found) == set(chosen)


def test_a_layer_that_is_called_twice():
    layer = nn.Linear(3, 3)
    recorder = PerExampleGradients(layer, dict(layer.named_parameters()))
    inputs = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    with recorder.recording():
        found = recorder.of(layer(layer(inputs).tanh()).square().sum(dim=(1, 2)))
    for number in range(4):
        loss = layer(layer(inputs[number]).tanh()).square().sum()
        weight, bias = torch.autograd.grad(loss, [layer.weight, layer.bias])
        torch.testing.assert_close(found["weight"][number], weight)
        torch.testing.assert_close(found["bias"][number], bias)


def test_layers_without_gradients_by_example_are_refused():
    norm = nn.LayerNorm(3)
    with pytest.raises(ModelError, match="not of one plain linear layer"):
        PerExampleGradients(norm, dict(norm.named_parameters()))
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(ModelError, match="not of one plain linear layer"):
        PerExampleGradients(tied, {"w": tied[0].weight})
    with pytest.raises(ModelError, match="belongs to no layer"):
        PerExampleGradients(norm, {"w": nn.Parameter(torch.zeros(1))})


def test_a_model_that_mixes_examples_is_refused():
    layer = nn.Linear(3, 1)
    recorder = PerExampleGradients(layer, dict(layer.named_parameters()))
    with recorder.recording():
        losses = layer(torch.ones(4 * 5, 3)).reshape(4, 5).sum(dim=1)
    with pytest.raises(ModelError, match="all examples' tokens together"):
        recorder.of(losses)


# --- clipping ---


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.floats(width=32), min_size=5, max_size=5), min_size=1, max_size=6),
    st.floats(1e-3, 1e3),
)
def test_one_example_moves_the_sum_by_at_most_the_norm(values, norm):
    """For any gradients, NaN and infinities too: what one more example adds has at most that norm."""
    gradients = torch.tensor(values, dtype=torch.float32)
    parameters = {"a": nn.Parameter(torch.zeros(2)), "b": nn.Parameter(torch.zeros(3, 1))}

    def total(examples):
        parts = {"a": examples[:, :2], "b": examples[:, 2:].reshape(-1, 3, 1)}
        return clipped_sum(parts, parameters, norm)

    whole = total(gradients)
    assert whole.dtype == torch.float64
    assert torch.isfinite(whole).all()
    alone = total(gradients[:1])
    assert torch.linalg.vector_norm(alone) <= norm * (1 + 1e-9)
    rest = total(gradients[1:]) if len(gradients) > 1 else torch.zeros(5, dtype=torch.float64)
    torch.testing.assert_close(whole, rest + alone, rtol=1e-9, atol=1e-9 * norm)
    first = gradients[0].double()
    if not torch.isfinite(first).all():
        assert not alone.any()
    elif torch.linalg.vector_norm(first) <= norm:
        torch.testing.assert_close(alone, first, rtol=1e-9, atol=0)


def test_the_norm_is_joint_over_all_tensors():
    gradients = {"a": torch.tensor([[3.0], [0.3]]), "b": torch.tensor([[4.0], [0.4]])}
    parameters = {name: nn.Parameter(torch.zeros(1)) for name in gradients}
    assert example_norms(gradients).tolist() == pytest.approx([5.0, 0.5])
    assert clipped_sum(gradients, parameters, 1.0).tolist() == pytest.approx([0.6 + 0.3, 0.8 + 0.4])


def test_a_tensor_without_gradient_adds_zeros():
    parameters = {"a": nn.Parameter(torch.zeros(2)), "b": nn.Parameter(torch.zeros(1))}
    assert clipped_sum({"b": torch.tensor([[0.5]])}, parameters, 1.0).tolist() == [0, 0, 0.5]


def test_no_examples_add_zeros():
    parameters = {"a": nn.Parameter(torch.zeros(2))}
    assert clipped_sum({"a": torch.zeros(0, 2)}, parameters, 1.0).tolist() == [0, 0]


# --- sampling ---


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2000), st.floats(0, 1))
def test_a_sample_is_a_set_of_units(count, rate):
    drawn = poisson_sample(count, rate)
    assert (np.diff(drawn) > 0).all()
    assert ((drawn >= 0) & (drawn < count)).all()
    assert abs(len(drawn) - count * rate) <= 7 * math.sqrt(count * rate * (1 - rate)) + 20


def test_the_ends_of_the_rate():
    assert poisson_sample(5, 1.0).tolist() == [0, 1, 2, 3, 4]
    assert poisson_sample(5, 0.0).size == 0
    assert poisson_sample(0, 0.5).size == 0


def test_units_are_drawn_alike_and_independently():
    """Chi-square of how often each unit came, at 5 deviations of its statistic."""
    draws = 4000
    counts = np.zeros(20)
    pairs = 0
    for _ in range(draws):
        drawn = poisson_sample(20, 0.3)
        counts[drawn] += 1
        pairs += {0, 1} <= set(drawn.tolist())
    statistic = float((np.square(counts - draws * 0.3) / (draws * 0.3 * 0.7)).sum())
    assert abs(statistic - 20) < 5 * math.sqrt(40)
    assert abs(pairs - draws * 0.09) < 5 * math.sqrt(draws * 0.09 * 0.91)


# --- training ---


def test_noise_is_once_per_batch_with_its_deviation(inner):
    """Without rows only noise moves the adapter: N(0, (z·C/B)²) at step size 1 (Kolmogorov–Smirnov)."""
    trainer = private(inner, noise_multiplier=3.0, clipping_norm=0.5)
    found = np.concatenate([moved(trainer, inner, []) for _ in range(20)]) / (3.0 * 0.5 / 20)
    normal = np.array([(1 + math.erf(x / math.sqrt(2))) / 2 for x in np.sort(found)])
    steps = np.arange(1, found.size + 1) / found.size
    assert np.abs(normal - steps).max() < 2.2 / math.sqrt(found.size)


@pytest.mark.parametrize("microbatch", [0, 3])
def test_the_sum_is_clipped_and_divided_by_the_expected_batch(inner, microbatch):
    """Rate 1 and next to no noise: a step is the looped sum of clipped gradients over 20."""
    examples, start = rows(7), self_test._start(inner.layout)
    trainer = private(
        inner, microbatch, sampling_rate=1.0, noise_multiplier=1e-3, clipping_norm=0.01, epsilon=1e6
    )
    found = moved(trainer, inner, examples, start)
    parameters = inner.prepare(start, names(inner), bytes(32))
    expected = np.zeros_like(found)
    for example in examples:
        looped = torch.autograd.grad(inner.losses([example]).sum(), list(parameters.values()))
        gradient = np.concatenate([g.numpy().reshape(-1) for g in looped]).astype(np.float64)
        expected -= gradient * min(1, 0.01 / np.linalg.norm(gradient)) / 20
    np.testing.assert_allclose(found, expected, atol=6 * 1e-5 / 20 + 1e-7)
    assert np.abs(expected).max() > 20 * 6 * 1e-5 / 20, "the sum stands out of the noise"


def test_a_row_that_breaks_the_arithmetic_counts_as_zero(inner, monkeypatch):
    trainer = private(inner, sampling_rate=1.0, noise_multiplier=1e-3, clipping_norm=0.01)
    honest = inner.losses
    monkeypatch.setattr(inner, "losses", lambda batch: honest(batch) * float("nan"))
    found = moved(trainer, inner, rows(4))
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 6 * 1e-5 / 20


def test_nothing_is_told_of_the_rows(inner):
    result = private(inner).train(
        Start(initial_adapter(inner.layout, 0).tensors), names(inner), rows(5), 1, bytes(32)
    )
    assert math.isnan(result.loss)
    assert result.rows == 0


def test_the_same_seed_draws_other_noise(inner):
    trainer = private(inner)
    assert not np.array_equal(moved(trainer, inner, rows(5)), moved(trainer, inner, rows(5)))


def test_the_gradient_term_of_a_strategy_is_added_after_the_noise(inner):
    trainer = private(inner, noise_multiplier=1e-3, clipping_norm=0.01)
    start = initial_adapter(inner.layout, 0).tensors

    def term(current):
        return {name: np.full_like(tensor, 2.0) for name, tensor in current.items()}

    after = trainer.train(Start(start, term), names(inner), [], 1, bytes(32)).tensors
    difference = flatten(after, names(inner)) - flatten(start, names(inner))
    np.testing.assert_allclose(difference, -2.0, atol=1e-4)


# --- the self-test ---


def test_wrong_gradients_stop_the_start(inner, monkeypatch):
    honest = PerExampleGradients.of

    def wrong(self, losses):
        return {name: gradient * 1.001 for name, gradient in honest(self, losses).items()}

    monkeypatch.setattr(PerExampleGradients, "of", wrong)
    with pytest.raises(RunError, match="not those of single examples"):
        private(inner)


def test_a_tensor_that_no_gradient_reaches_stops_the_start(inner, monkeypatch):
    honest = PerExampleGradients.of
    lost = names(inner)[-1]
    monkeypatch.setattr(
        PerExampleGradients,
        "of",
        lambda self, losses: {k: v for k, v in honest(self, losses).items() if k != lost},
    )
    with pytest.raises(RunError, match="has no gradient"):
        private(inner)


def test_a_step_that_moves_nothing_stops_the_start(inner, monkeypatch):
    monkeypatch.setattr(PrivateTrainer, "_set_gradients", lambda self, parameters, batch: None)
    with pytest.raises(RunError, match="a step does not move"):
        private(inner)

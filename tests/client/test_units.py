"""Groups as units of privacy: which rows belong together, and that a group counts once in every step."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sealora.client import self_test
from sealora.client.batches import sorted_batches
from sealora.client.per_example import PerExampleGradients, clipped_sum
from sealora.client.private_trainer import PrivateTrainer
from sealora.client.self_test import synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.client.unit_gradients import clipped_unit_sum, together
from sealora.client.units import units_of
from sealora.models.adapter import flatten
from sealora.models.base import load_base
from sealora.models.classification import Classification
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.task import Example
from sealora.privacy.sampling import choose
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.errors import DataError, RunError
from sealora.strategies.strategy import Start


def example(group, *tokens):
    return Example(tokens or (1,), 0, group=group)


# --- which rows belong together ---


def test_rows_of_one_group_are_one_unit():
    rows = [example(group) for group in (3, 0, 3, 1, 0)]
    assert units_of(rows, "group") == [[0, 2], [1, 4], [3]]
    assert units_of(rows, "record") == [[0], [1], [2], [3], [4]]


def test_a_row_without_a_group_is_never_a_unit_of_its_own():
    with pytest.raises(DataError, match=r"no group is known\. Set data\.group_column"):
        units_of([example(0), example(None)], "group")
    assert units_of([example(None)], "record") == [[0]]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 8))
def test_groups_go_together_as_far_as_their_rows_fit(sizes, most):
    """Every group once and never in parts; what does not fit goes by itself."""
    chosen = list(together(sizes, most))
    assert sorted(unit for units in chosen for unit in units) == list(range(len(sizes)))
    assert all(sum(sizes[unit] for unit in units) <= most or len(units) == 1 for units in chosen)
    assert all(chosen)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 12), st.integers(0, 12))
def test_at_most_so_many_rows_of_a_unit(count, most):
    chosen = choose(range(count), most)
    assert len(chosen) == len(set(chosen)) == (min(count, most) if most else count)
    assert set(chosen) <= set(range(count))


def test_rows_of_a_unit_are_chosen_alike():
    """Chi-square of how often each row came; of its 9 degrees of freedom 45 is beyond 1e-6."""
    draws = 4000
    counts = np.zeros(10)
    for _ in range(draws):
        counts[choose(range(10), 3)] += 1
    expected = draws * 0.3
    assert (np.square(counts - expected) / (expected * 0.7)).sum() < 45


# --- the clipped sum ---


def passes(batch, microbatch):
    return sorted_batches([len(row.tokens) for row in batch], microbatch)


class Rows(nn.Module):
    """A linear layer whose gradient by row is the row's features: what is clipped can be chosen."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)

    def losses(self, batch):
        features = torch.tensor([row.target for row in batch], dtype=torch.float32)
        return self.layer(features.unsqueeze(1)).reshape(-1)

    def total(self, units, microbatch, norm):
        """The clipped sum over units, each a list of feature triples."""
        made = [[Example((1,), features) for features in unit] for unit in units]
        parameters = {"layer.weight": self.layer.weight}
        recorder = PerExampleGradients(self, parameters)
        return clipped_unit_sum(recorder, self.losses, passes, parameters, made, microbatch, norm)


FEATURES = st.tuples(*[st.floats(-(2.0**20), 2.0**20, width=32)] * 3)
UNITS = st.lists(st.lists(FEATURES, min_size=1, max_size=5), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(UNITS, st.integers(1, 6), st.floats(1e-3, 1e3))
def test_one_group_moves_the_sum_by_at_most_the_norm(units, microbatch, norm):
    """Removing a whole group changes the sum before noise by at most the norm, however rows are batched."""
    model = Rows()
    whole = model.total(units, microbatch, norm)
    for removed in range(len(units)):
        rest = model.total(units[:removed] + units[removed + 1 :], microbatch, norm)
        assert torch.linalg.vector_norm(whole - rest) <= norm * (1 + 1e-6)
    looped = np.zeros(3)
    for unit in units:
        gradient = np.sum(unit, axis=0, dtype=np.float64)
        length = np.linalg.norm(gradient)
        looped += gradient * (min(1.0, norm / length) if length else 1.0)
    # Sums of features up to 2^20 in float32 that cancel keep an absolute error.
    np.testing.assert_allclose(whole.numpy(), looped, rtol=1e-4, atol=1.0 if norm > 1 else 0.5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(*[st.floats(width=32)] * 3), min_size=1, max_size=7), st.integers(1, 3))
def test_groups_of_one_row_are_records(rows, microbatch):
    """NaN and infinities too: the very numbers of the sum over records."""
    model, norm = Rows(), 1.0
    gradients = {"layer.weight": torch.tensor(rows, dtype=torch.float32).reshape(-1, 1, 3)}
    parameters = {"layer.weight": model.layer.weight}
    alone = [[row] for row in rows]
    found = model.total(alone, microbatch, norm)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, clipped_sum(gradients, parameters, norm), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("microbatch", [1, 2, 8])
def test_a_row_that_breaks_the_arithmetic_takes_its_group_along_and_no_other(broken, microbatch):
    model = Rows()
    units = [[(3.0, 4.0, 0.0)], [(broken, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0)], [(0.0, 0.0, 0.5)]]
    assert model.total(units, microbatch, 1.0).tolist() == pytest.approx([0.6, 0.8, 0.5])


def test_no_units_give_zeros():
    assert Rows().total([], 4, 1.0).tolist() == [0, 0, 0]


# --- training ---

TASK = Classification(TaskSettings(labels=("negative", "positive"), max_length=16))
SYNTHETIC = synthetic_examples(TASK, 23)


@pytest.fixture(scope="module")
def inner(tiny_model):
    base = load_base(ModelSettings(name=str(tiny_model), device="cpu"), TASK)
    training = TrainingSettings(optimizer="sgd", learning_rate=1.0, threads=1)
    return TorchTrainer(base, TASK, LoraSettings(rank=2), training, 1)


def private(inner, microbatch=0, **changes):
    promise = {
        "guarantee": "record",
        "unit": "group",
        "epsilon": 1e6,
        "delta": 1e-5,
        "noise_multiplier": 1e-3,
        "clipping_norm": 0.01,
        "sampling_rate": 1.0,
        "expected_batch": 20.0,
        "steps_per_round": 1,
    }
    promise = PrivacySettings(**{**promise, **changes})
    return PrivateTrainer(inner, promise, schedule(promise, 1, 1), microbatch, SYNTHETIC)


def names(inner):
    return [spec.name for spec in inner.layout.specs]


def moved(trainer, inner, rows):
    start = self_test._start(inner.layout)
    after = trainer.train(Start(start), names(inner), rows, 1, bytes(32)).tensors
    return (flatten(after, names(inner)) - flatten(start, names(inner))).astype(np.float64)


def grouped_rows(sizes):
    draw = np.random.default_rng(0)
    return [
        Example((2, *map(int, draw.integers(5, 23, draw.integers(1, 10))), 3), int(draw.integers(2)), group=g)
        for g, size in enumerate(sizes)
        for _ in range(size)
    ]


@pytest.mark.parametrize("microbatch", [0, 3])
def test_a_step_is_the_sum_of_groups_clipped_as_one(inner, microbatch):
    """The third group is larger than a microbatch, and its rows stand apart in the table."""
    rows = grouped_rows([1, 2, 8])
    rows = rows[::2] + rows[1::2]
    found = moved(private(inner, microbatch), inner, rows)
    parameters = inner.prepare(self_test._start(inner.layout), names(inner), bytes(32))
    expected = np.zeros_like(found)
    for group in range(3):
        loss = inner.losses([row for row in rows if row.group == group]).sum()
        looped = torch.autograd.grad(loss, list(parameters.values()))
        gradient = np.concatenate([g.numpy().reshape(-1) for g in looped]).astype(np.float64)
        expected -= gradient * min(1, 0.01 / np.linalg.norm(gradient)) / 20
    np.testing.assert_allclose(found, expected, atol=6 * 1e-5 / 20 + 1e-7)
    assert np.abs(expected).max() > 20 * 6 * 1e-5 / 20, "the sum stands out of the noise"


def test_no_more_rows_of_a_group_than_the_plan_allows(inner, monkeypatch):
    seen = []
    honest = inner.losses
    trainer = private(inner, records_per_unit=2)
    monkeypatch.setattr(inner, "losses", lambda batch: (seen.extend(batch), honest(batch))[1])
    rows = grouped_rows([1, 2, 8])
    moved(trainer, inner, rows)
    assert sorted(row.group for row in seen) == [0, 1, 1, 2, 2]


def test_a_site_without_groups_does_not_train(inner):
    with pytest.raises(DataError, match="no group is known"):
        moved(private(inner), inner, [Example((2, 5, 3), 0)])


def test_groups_that_are_not_clipped_as_one_stop_the_start(inner, monkeypatch):
    def by_record(recorder, losses, passes, parameters, units, microbatch, norm):
        alone = [[row] for unit in units for row in unit]
        return clipped_unit_sum(recorder, losses, passes, parameters, alone, microbatch, norm)

    monkeypatch.setattr("sealora.client.private_trainer.clipped_unit_sum", by_record)
    with pytest.raises(RunError, match="groups of rows are not clipped as one"):
        private(inner)

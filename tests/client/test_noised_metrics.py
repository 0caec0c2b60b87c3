"""Noised metrics: one unit's share of the sum vector is bounded, and the noise is what the ledger says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sealora.client.contribution import metric_segments
from sealora.client.noised_metrics import clipped_sums, noised_sums
from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.models.classification import BINS, Classification
from sealora.models.settings import ModelSettings, TaskSettings
from sealora.models.task import LOSS_UNITS, SumSpec
from sealora.plan.payload import metric_sums, payload_layout
from sealora.plan.settings import PlanSettings
from sealora.privacy.noise import GaussianNoise
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.errors import PlanError
from sealora.protocol.keystream import Keystream
from sealora.protocol.messages import Work
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Context

PARTS = (SumSpec("loss", 1, 2**20, 64.0), SumSpec("rows", 1, 2**20, 1.0), SumSpec("table", 4, 2**20, 1.5))

CONTRIBUTIONS = st.fixed_dictionaries(
    {part.name: st.lists(st.integers(0, 200), min_size=part.length, max_size=part.length) for part in PARTS}
)
UNITS = st.lists(st.lists(CONTRIBUTIONS, min_size=1, max_size=4), min_size=1, max_size=5)


def flat(units):
    """Contributions by row, and the row numbers of each unit."""
    rows = [{name: np.array(values) for name, values in row.items()} for unit in units for row in unit]
    ends = np.cumsum([len(unit) for unit in units]).tolist()
    return rows, [list(range(end - len(unit), end)) for unit, end in zip(units, ends, strict=True)]


def sums(units):
    rows, numbers = flat(units)
    return clipped_sums(enumerate(rows), numbers, PARTS)


@settings(deadline=None, max_examples=60)
@given(UNITS)
def test_one_unit_adds_at_most_its_bound(units):
    """Measured in norms, removing a unit moves all P parts together by at most √P."""
    whole = sums(units)
    for removed in range(len(units)):
        rest = sums(units[:removed] + units[removed + 1 :])
        moves = [np.linalg.norm(whole[part.name] - rest[part.name]) / part.norm for part in PARTS]
        assert max(moves) <= 1 + 1e-9
        assert math.hypot(*moves) <= math.sqrt(len(PARTS)) * (1 + 1e-9)


def test_a_group_counts_as_the_mean_of_its_rows():
    inside = {"loss": [10], "rows": [1], "table": [1, 0, 0, 0]}
    other = {"loss": [30], "rows": [1], "table": [0, 1, 0, 0]}
    found = sums([[inside, other], [inside]])
    assert found["loss"].tolist() == [20 + 10]
    assert found["rows"].tolist() == [2]
    assert found["table"].tolist() == [1.5, 0.5, 0, 0]


def test_large_contributions_are_scaled_down():
    found = sums([[{"loss": [640], "rows": [2], "table": [3, 4, 0, 0]}]])
    assert found["loss"].tolist() == [64]
    assert found["rows"].tolist() == [1]
    np.testing.assert_allclose(found["table"], [0.9, 1.2, 0, 0])


def test_the_noise_is_calibrated_to_all_parts_together():
    """Kolmogorov–Smirnov on what is left of the noise after its deviation z·√P·norm is divided out."""
    noise = GaussianNoise.insecure_reproducible(11)
    parts = (
        SumSpec("loss", 500, 2**40, 4.0 * LOSS_UNITS),
        SumSpec("histogram", 500, 2**40, math.sqrt(2) * 1000),
    )
    draws = {part.name: [] for part in parts}
    for _ in range(20):
        found = noised_sums([], [], parts, 10.0, noise)
        for part in parts:
            assert found[part.name].dtype == np.int64
            draws[part.name].append((found[part.name] - part.bound) / (10.0 * math.sqrt(2) * part.norm))
    for values in draws.values():
        assert stats.kstest(np.concatenate(values), "norm").pvalue > 1e-3


@pytest.mark.parametrize("value", [0, 2**20])
def test_what_leaves_fits_its_segment(value):
    """However large the noise: 0 to twice the bound."""
    part = SumSpec("rows", 50, 2**10, 1.0)
    row = {"rows": np.full(50, value)}
    found = noised_sums([(0, row)], [[0]], [part], 1e6, GaussianNoise.insecure_reproducible(3))["rows"]
    assert found.min() >= 0
    assert found.max() <= 2**11
    assert (found == 0).any()
    assert (found == 2**11).any()


# --- on their way through the ring ---

LAYOUT = AdapterLayout((TensorSpec("head.weight", (2, 4)),), rank=2)
TASK = Classification(TaskSettings(labels=("no", "yes")))


def plan(**privacy):
    promise = {
        "guarantee": "record",
        "epsilon": 8.0,
        "delta": 1e-5,
        "sampling_rate": 0.1,
        "expected_batch": 8.0,
    }
    return PlanSettings(
        schema=1,
        model=ModelSettings(name="m"),
        task=TaskSettings(labels=("no", "yes")),
        strategy=StrategySettings(weighting="uniform"),
        privacy=PrivacySettings(**{**promise, **privacy}),
    )


CONTEXT = Context(LAYOUT, 1, 3, 0)


@pytest.mark.parametrize("noise", [1e-3, 40.0, 1e5])
@pytest.mark.parametrize("value_bits", [8, 16, 32])
def test_the_sum_of_the_sites_noised_vectors_is_exact(noise, value_bits):
    """Negative sums too: what the coordinator decodes is the sum of what the sites released."""
    made = plan(metrics="noised").model_copy()
    made = made.model_copy(update={"codec": made.codec.model_copy(update={"value_bits": value_bits})})
    layout = payload_layout(made, FedAvg(made.strategy), TASK, CONTEXT, Work.EVALUATE)
    logits, targets = torch.tensor([[0.0, 1.0], [2.0, -1.0]]), torch.tensor([1, 1])
    rows = [TASK.count(logits[row : row + 1], targets[row : row + 1]) for row in range(2)]
    stream = GaussianNoise.insecure_reproducible(5)
    released = [noised_sums(enumerate(rows), [[0], [1]], TASK.sums(), noise, stream) for _ in range(3)]
    words = sum(layout.encode(metric_segments(site), Keystream(bytes(32))) for site in released)
    found = metric_sums(made, TASK, layout.decode(words, 3), 3)
    for part in TASK.sums():
        expected = sum(site[part.name] for site in released) - 3 * part.bound
        np.testing.assert_array_equal(found[part.name], expected)
    assert noise < 1 or found["histogram"].min() < 0
    figures = TASK.metrics(found)
    for name in ("accuracy", "macro_f1", "auroc"):
        assert math.isnan(figures[name]) or 0 <= figures[name] <= 1
    assert math.isnan(figures["loss"]) or figures["loss"] >= 0
    TASK.tables(found)


def test_next_to_no_noise_leaves_the_metrics_as_they_are():
    generator = np.random.default_rng(0)
    logits = torch.from_numpy(generator.normal(0, 1, (400, 2)))
    targets = torch.from_numpy(generator.integers(0, 2, 400))
    rows = [TASK.count(logits[row : row + 1], targets[row : row + 1]) for row in range(400)]
    units = [[row] for row in range(400)]
    found = noised_sums(enumerate(rows), units, TASK.sums(), 1e-3, GaussianNoise.insecure_reproducible(1))
    noised = TASK.metrics({part.name: found[part.name] - float(part.bound) for part in TASK.sums()})
    exact = TASK.metrics({k: v.astype(float) for k, v in TASK.count(logits, targets).items()})
    assert noised == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_row_is_within_the_norms_that_the_task_states(classes, multi_label):
    """So that clipping changes no count: only a loss may be beyond."""
    labels = tuple(map(str, range(classes)))
    task = Classification(TaskSettings(labels=labels, multi_label=multi_label))
    generator = np.random.default_rng(1)
    norms = {part.name: part.norm for part in task.sums()}
    for _ in range(50):
        logits = torch.from_numpy(generator.normal(0, 3, (1, classes)))
        target = generator.integers(0, 2, (1, classes)).astype(np.float32) if multi_label else [0]
        counts = task.count(logits, task.target_tensor(target))
        for name in ("rows", "correct", "table", "histogram"):
            assert np.linalg.norm(counts[name]) <= norms[name] * (1 + 1e-12)
    assert len(counts["histogram"]) == 2 * classes * BINS


def test_a_task_that_bounds_nothing_cannot_be_noised():
    class Open(Classification):
        def sums(self):
            return (*super().sums(), SumSpec("distance", 1, 100))

    task = Open(TaskSettings(labels=("no", "yes")))
    with pytest.raises(PlanError, match=r"what a row adds to 'distance'.*Write metrics"):
        payload_layout(plan(metrics="noised"), FedAvg(StrategySettings()), task, CONTEXT, Work.TRAIN)
    payload_layout(plan(metrics="withheld"), FedAvg(StrategySettings()), task, CONTEXT, Work.TRAIN)


def test_exact_metrics_have_no_place_in_a_private_upload():
    for metrics in ("withheld", "public"):
        layout = payload_layout(plan(metrics=metrics), FedAvg(StrategySettings()), TASK, CONTEXT, Work.TRAIN)
        assert {segment.name for segment in layout.segments} == {"update/update", "weight"}

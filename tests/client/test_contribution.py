"""From an update to words: the clip keeps direction, norm and range, and weights come after it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sealora.client.contribution import LocalUpdate, clip, contribution, counted_rows, rounding_key, scale
from sealora.models.settings import TaskSettings
from sealora.plan import payload as names
from sealora.plan.payload import payload_layout, site_weight, weight_units
from sealora.protocol.codec import Layout, Segment
from sealora.protocol.errors import RunError
from sealora.protocol.messages import Work
from sealora.protocol.settings import CodecSettings
from sealora.simulation.toy import LAYOUT, ToyMetrics, toy_plan
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Context, Part, Trained

FINITE = st.floats(-(2.0**127), 2.0**127, width=32)
VECTORS = arrays.arrays(np.float32, st.integers(1, 30), elements=FINITE)


def plan(**codec):
    return toy_plan(codec=CodecSettings(**codec))


def clipped(settings, weight=1.0, **vectors):
    parts = tuple(Part(name, vector.size) for name, vector in vectors.items())
    upload = {n: v.astype(np.float32) for n, v in vectors.items()}
    factors = clip(settings, parts, upload, upload, weight)
    return scale(parts, upload, weight, factors), any(factor < 1 for factor in factors.values())


@settings(deadline=None)
@example(np.array([-2.944472e37], np.float32), 100.0, 1.0, 0.01)
@given(VECTORS, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1))
def test_norm_and_range_hold_and_the_direction_is_kept(vector, norm, reach, weight):
    scaled, was = clipped(plan(clip=norm, range=reach), weight, x=vector)
    result = scaled["x"]
    assert np.abs(result).max() <= reach
    assert np.linalg.norm(result) <= norm * weight * (1 + 1e-9)
    longest = int(np.argmax(np.abs(vector)))
    if vector[longest]:
        factor = result[longest] / np.float64(vector[longest])
        assert 0 < factor <= weight * (1 + 1e-12)
        np.testing.assert_allclose(result, vector.astype(np.float64) * factor, rtol=1e-9)
        assert was == (factor < weight * (1 - 1e-12))
    else:
        assert not was


def test_within_bounds_nothing_changes():
    vector = np.array([0.5, -0.25], np.float32)
    scaled, was = clipped(plan(), 1.0, x=vector)
    assert not was
    np.testing.assert_array_equal(scaled["x"], vector)


def test_the_norm_is_joint_over_parts():
    scaled, was = clipped(plan(clip=1.0), x=np.array([3.0]), y=np.array([4.0]))
    assert was
    assert scaled["x"] == pytest.approx(0.6)
    assert scaled["y"] == pytest.approx(0.8)


def test_the_range_is_that_of_the_weighted_update():
    vector = np.array([4.0, 1.0], np.float32)
    scaled, was = clipped(plan(range=1.0), 0.1, x=vector)
    assert not was
    np.testing.assert_allclose(scaled["x"], [0.4, 0.1])
    scaled, was = clipped(plan(range=1.0), 0.5, x=vector)
    assert was
    np.testing.assert_allclose(scaled["x"], [1.0, 0.25])


def test_unweighted_parts_keep_their_size():
    parts = (Part("x", 1), Part("y", 1, weighted=False))
    upload = {"x": np.array([0.5], np.float32), "y": np.array([0.5], np.float32)}
    assert clip(plan(), parts, upload, upload, 0.1) == {"x": 1, "y": 1}
    scaled = scale(parts, upload, 0.1, {"x": 1, "y": 1})
    assert (scaled["x"][0], scaled["y"][0]) == (0.05, 0.5)


def test_groups_are_scaled_apart_and_parts_may_have_ranges_of_their_own():
    parts = (Part("x", 2), Part("y", 1, weighted=False, range=8.0, group="other"), Part("z", 1))
    upload = {"x": np.array([3, 0]), "y": np.array([16]), "z": np.array([4])}
    upload = {name: vector.astype(np.float32) for name, vector in upload.items()}
    factors = clip(plan(clip=5.0, range=2.0), parts, upload, upload, 1.0)
    assert factors == pytest.approx({"x": 0.5, "y": 5 / 16, "z": 0.5})
    factors = clip(plan(clip=100.0, range=2.0), parts, upload, upload, 0.5)
    assert factors == pytest.approx({"x": 1, "y": 0.5, "z": 1})


@pytest.mark.parametrize("vectors", [{"x": np.zeros(3)}, {"x": np.zeros(0)}, {}])
def test_a_zero_update(vectors):
    scaled, was = clipped(plan(), **vectors)
    assert not was
    assert all(not vector.any() for vector in scaled.values())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_refused(bad):
    with pytest.raises(RunError, match="the update is not finite"):
        clipped(plan(), x=np.array([0.1, bad]))


@pytest.mark.parametrize(
    ("weighting", "cap", "rows", "weight", "units"),
    [("examples", 1000, 10, 10, 1000), ("examples", 1000, 5000, 1000, 1000), ("uniform", 1000, 10, 1, 1)],
)
def test_weights(weighting, cap, rows, weight, units):
    settings = toy_plan(strategy=StrategySettings(weighting=weighting, weight_cap=cap))
    assert (site_weight(settings, rows), weight_units(settings)) == (weight, units)


@pytest.mark.parametrize(
    ("targets", "labels", "rows"),
    [
        ([0] * 5 + [1] * 5, "ab", 10),
        ([0] * 9 + [1], "ab", 2),
        ([1] * 7, "ab", 0),
        ([], "ab", 0),
        ([0, 0, 1, 1, 2, 2], "abc", 6),
        ([0, 0, 0, 0, 1, 2], "abc", 3),
        ([0, 1], "abc", 1),
    ],
)
def test_rows_that_contrast_classes(targets, labels, rows):
    settings = toy_plan(
        task=TaskSettings(labels=tuple(labels)), strategy=StrategySettings(weighting="contrasting")
    )
    assert counted_rows(settings, targets) == rows
    assert counted_rows(toy_plan(), targets) == len(targets)
    assert site_weight(settings, rows) == max(rows, 1)


def encoded(settings, update, rows=40, loss=12.5):
    """One site's words decoded again."""
    strategy = FedAvg(settings.strategy)
    context = Context(LAYOUT, 1, 1, 0)
    layout = payload_layout(settings, strategy, ToyMetrics(), context, Work.TRAIN)
    counts = {"loss": np.array([77]), "rows": np.array([3])}
    trained = Trained({}, loss, rows, 1, 0.1)
    parts, upload = strategy.parts(context), {"update": update}
    factors, rounding = clip(settings, parts, upload, upload, rows / 1000), rounding_key(0, "a", 1)
    local = LocalUpdate(settings, layout, parts, upload, factors, trained, rows, counts, rounding)
    return layout.decode(contribution(local), 1)


def test_all_that_a_site_sends():
    update = np.linspace(-0.5, 0.5, 30, dtype=np.float32)
    sums = encoded(toy_plan(), update)
    assert set(sums) == {
        "update/update", "weight", "clipped", "train/loss", "train/rows", "metric/loss", "metric/rows",
    }  # fmt: skip
    np.testing.assert_allclose(sums["update/update"], update * 0.04, atol=2 / 65535)
    assert {name: float(sums[name][0]) for name in sums if not name.startswith("update")} == {
        "weight": 40, "clipped": 0, "train/loss": 12.5 * 65536, "train/rows": 40,
        "metric/loss": 77, "metric/rows": 3,
    }  # fmt: skip


def test_a_clipped_site_says_so():
    assert encoded(plan(clip=1e-3), np.ones(30, np.float32))["clipped"] == 1


@pytest.mark.parametrize("loss", [1e30, np.inf, np.nan])
def test_a_huge_loss_is_capped(loss):
    assert encoded(toy_plan(), np.zeros(30, np.float32), loss=loss)["train/loss"] == names.MAX_TRAIN_LOSS


def test_rounding_depends_on_seed_site_and_round_only():
    words = {
        key: rounding_key(*key).words32(4).tobytes()
        for key in [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2)]
    }
    assert len(set(words.values())) == 4
    assert rounding_key(0, "a", 1).words32(4).tobytes() == words[0, "a", 1]


def test_rounding_is_unbiased():
    layout = Layout((Segment("x", 20_000, 1.0),), 1, 8)
    words = layout.encode({"x": np.full(20_000, 0.1003)}, rounding_key(0, "a", 1))
    assert layout.decode(words, 1)["x"].mean() == pytest.approx(0.1003, abs=1e-4)

"""What is rounded of a part: a linear map that both sides know, and that is undone on the sum."""

import numpy as np
import pytest

from sealora.client.contribution import clip, scale
from sealora.plan.coding import codings
from sealora.plan.payload import round_context
from sealora.protocol.settings import CodecSettings, SecureAggregationSettings
from sealora.simulation.toy import LAYOUT, toy_federation, toy_plan
from sealora.strategies.registry import load_strategy

RANGES = {"A": 0.5, "B": 2.0, "head": 4.0}
CODECS = [
    {},
    {"ranges": RANGES},
    {"ranges": {"B": 0.25}},
    {"rotation": True},
    {"rotation": True, "ranges": RANGES},
]


def maps(number=1, **codec):
    plan = toy_plan(codec=CodecSettings(**codec))
    strategy = load_strategy(plan.strategy)
    context = round_context(plan, strategy, LAYOUT, number, 4)
    parts = strategy.parts(context)
    return plan, parts, codings(plan, parts, context)["update"]


def vector(seed, length=30):
    return np.random.default_rng(seed).normal(size=length).astype(np.float32)


@pytest.mark.parametrize("codec", CODECS)
def test_the_sum_comes_back(codec):
    _, _, coding = maps(**codec)
    total = coding.forward(vector(0)).astype(np.float64) + coding.forward(vector(1))
    np.testing.assert_allclose(coding.inverse(total), vector(0) + vector(1), atol=1e-5)


def test_without_settings_nothing_is_touched():
    one = vector(0)
    assert maps()[2].forward(one) is one


def test_each_kind_fills_its_own_range():
    """A coordinate at the edge of its tensor's range is at the edge of the part's."""
    _, (part,), coding = maps(ranges=RANGES, range=1.0)
    own = np.concatenate(
        [np.full(spec.size, RANGES[{"A": "A", "B": "B"}.get(spec.role, "head")]) for spec in part.tensors]
    )
    np.testing.assert_allclose(coding.forward(own), np.ones(part.length))


def test_every_round_turns_anew_and_everybody_alike():
    turned = maps(rotation=True)[2].forward(vector(0))
    np.testing.assert_array_equal(turned, maps(rotation=True)[2].forward(vector(0)))
    assert not np.allclose(turned, maps(number=2, rotation=True)[2].forward(vector(0)))


@pytest.mark.parametrize("codec", CODECS)
def test_norm_and_range_hold_for_what_is_rounded(codec):
    """The norm is of the update, the range of what is sent of it."""
    plan, parts, coding = maps(**codec, range=0.3, clip=2.0)
    upload = {"update": 5 * vector(2)}
    coded = {"update": coding.forward(upload["update"])}
    factors = clip(plan, parts, upload, coded, 1.0)
    assert 0 < factors["update"] < 1
    assert np.abs(scale(parts, coded, 1.0, factors)["update"]).max() <= 0.3
    assert np.linalg.norm(upload["update"] * factors["update"]) <= 2.0 + 1e-6


def test_what_is_not_finite_stays_so():
    for codec in CODECS:
        coding = maps(**codec)[2]
        broken = vector(0)
        broken[3] = np.inf
        assert not np.isfinite(coding.forward(broken)).all()


def run(folder, secure=False, **codec):
    masks = SecureAggregationSettings(enabled=secure)
    plan = toy_plan(codec=CodecSettings(**codec), secure_aggregation=masks)
    return toy_federation(folder, 5, plan).coordinator().run()[0]


@pytest.mark.parametrize("codec", [{"rotation": True, "value_bits": 4}, {"ranges": RANGES, "value_bits": 2}])
def test_secure_runs_equal_plain_ones_bit_for_bit(tmp_path, codec):
    secure, plain = (run(tmp_path / str(masked), masked, **codec).sha256() for masked in (True, False))
    assert secure == plain


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_run_ends_where_it_would_without(tmp_path, codec):
    exact = run(tmp_path / "exact", value_bits=32).tensors
    for name, tensor in run(tmp_path / "coded", value_bits=32, **codec).tensors.items():
        np.testing.assert_allclose(tensor, exact[name], atol=1e-5)

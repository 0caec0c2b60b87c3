"""The codec: sums that are exact or within the grid, and lanes that never run into each other."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sealora.protocol.codec import Layout, Segment
from sealora.protocol.errors import PlanError
from sealora.protocol.keystream import Keystream, derive_key

CONTRIBUTORS = [1, 2, 27, 28, 30, 40, 41, 200, 1000, 65536]
BITS = [2, 4, 8, 16, 32]
GRID = [(n, bits) for n in CONTRIBUTORS for bits in BITS]


def rounding(*fields: str | int) -> Keystream:
    return Keystream(derive_key("test", *fields))


def lanes_by_hand(words: NDArray[np.uint64], layout: Layout) -> list[int]:
    """The digits of each word, in Python's integers."""
    return [
        word // layout.radix**lane % layout.radix
        for word in words.tolist()
        for lane in range(layout.lanes_used)
    ]


def summed(words: NDArray[np.uint64], times: int) -> NDArray[np.uint64]:
    """The sum of `times` equal contributions modulo 2^64."""
    return words * np.uint64(times)


def mixed(contributors: int, bits: int = 16) -> Layout:
    segments = (Segment("a", 7, 0.5), Segment("n", 2, 10**6, "count"), Segment("b", 5, 30.0))
    return Layout(segments, contributors, bits)


def zeros(layout: Layout, **changed: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    """A payload of zeros, but for the segments named."""
    kinds = {"real": np.float64, "count": np.int64}
    unchanged = {segment.name: np.zeros(segment.length, kinds[segment.kind]) for segment in layout.segments}
    return {**unchanged, **changed}


# the ring


@pytest.mark.parametrize(("contributors", "bits"), GRID)
def test_no_sum_of_lanes_carries(contributors: int, bits: int) -> None:
    layout = Layout((Segment("x", 10, 1.0),), contributors, bits)
    assert layout.contributors * layout.levels < layout.radix
    assert layout.radix**layout.lanes_used <= 2**64 < layout.radix ** (layout.lanes_used + 1)
    assert layout.levels >= (2**bits - 1) * 7 // 8


@pytest.mark.parametrize(("contributors", "bits"), GRID)
@pytest.mark.parametrize("filled", ["all", "even", "odd"])
def test_full_lanes_stay_beside_empty_ones(contributors: int, bits: int, filled: str) -> None:
    """Every site at the top of every other lane: the largest sums there are."""
    layout = Layout((Segment("x", 97, 2.0),), contributors, bits)
    top = {"all": np.ones(97), "even": 1 - np.arange(97) % 2, "odd": np.arange(97) % 2}[filled].astype(bool)
    words = layout.encode({"x": np.where(top, 2.0, -2.0)}, rounding("full"))
    total = summed(words, contributors)
    assert lanes_by_hand(total, layout)[:97] == [contributors * layout.levels * int(full) for full in top]
    decoded = layout.decode(total, contributors)["x"]
    assert decoded == pytest.approx(np.where(top, 2.0, -2.0) * contributors, rel=1e-12)


@pytest.mark.parametrize(
    ("contributors", "lanes", "levels"),
    [(1, 4, 65535), (2, 3, 65535), (40, 3, 65535), (41, 3, 64444), (200, 2, 65535), (65536, 2, 65535)],
)
def test_sixteen_bit_values_share_words(contributors: int, lanes: int, levels: int) -> None:
    """Forty-one sites give up a few levels for a third lane; two hundred would have to give up too many."""
    layout = Layout((Segment("x", 12, 1.0),), contributors, 16)
    assert (layout.lanes_used, layout.levels, layout.words) == (lanes, levels, 12 // lanes)


@pytest.mark.parametrize("contributors", [0, -1, 2**48])
def test_layouts_without_room_are_refused(contributors: int) -> None:
    with pytest.raises(PlanError, match="overflows its words"):
        Layout((Segment("x", 1, 1.0),), contributors, 16)


def test_segments_have_names_of_their_own() -> None:
    with pytest.raises(PlanError, match="share a name"):
        Layout((Segment("x", 1, 1.0), Segment("x", 2, 1.0)), 2, 16)


# sums


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_sums_are_within_one_grid_step_for_each_site(data: st.DataObject) -> None:
    sites, bits = data.draw(st.integers(1, 6)), data.draw(st.sampled_from(BITS))
    bound = data.draw(st.sampled_from([1e-6, 0.1, 1.0, 333.0, 1e6]))
    length = data.draw(st.integers(1, 20))
    layout = Layout((Segment("x", length, bound),), data.draw(st.integers(sites, 100)), bits)
    values = st.lists(st.floats(-bound, bound), min_size=length, max_size=length)
    inputs = [np.array(data.draw(values)) for _ in range(sites)]
    total = sum_of(layout, [{"x": values} for values in inputs])
    step = 2 * bound / layout.levels
    error = np.abs(layout.decode(total, sites)["x"] - np.sum(inputs, axis=0))
    assert np.all(error <= sites * step * (1 + 1e-9))


@given(st.integers(1, 2**53 - 1), st.sampled_from(CONTRIBUTORS), st.sampled_from(BITS), st.data())
@settings(deadline=None)
def test_sums_of_counts_are_exact(bound: int, contributors: int, bits: int, data: st.DataObject) -> None:
    bound = min(bound, 2**53 // contributors)
    layout = Layout((Segment("n", 3, bound, "count"),), contributors, bits)
    sites = data.draw(st.integers(1, min(contributors, 4)))
    counts = st.lists(st.integers(0, bound), min_size=3, max_size=3)
    inputs = [np.array(data.draw(counts), dtype=np.uint64) for _ in range(sites)]
    decoded = layout.decode(sum_of(layout, [{"n": counts} for counts in inputs]), sites)["n"]
    assert decoded.tolist() == np.sum(inputs, axis=0).tolist()


@pytest.mark.parametrize(("contributors", "bits"), GRID)
def test_the_largest_counts_are_exact(contributors: int, bits: int) -> None:
    bound = 2**53 // contributors
    layout = Layout((Segment("n", 2, bound, "count"),), contributors, bits)
    words = layout.encode({"n": np.array([bound, 0], dtype=np.uint64)}, rounding("count"))
    assert layout.decode(summed(words, contributors), contributors)["n"].tolist() == [bound * contributors, 0]


def sum_of(layout: Layout, payloads: Sequence[Mapping[str, NDArray[np.generic]]]) -> NDArray[np.uint64]:
    total = np.zeros(layout.words, dtype=np.uint64)
    for site, payload in enumerate(payloads):
        total += layout.encode(payload, rounding("site", site))
    return total


def test_segments_do_not_mix() -> None:
    layout = mixed(30)
    payload = {"a": np.full(7, 0.5), "n": np.array([0, 10**6]), "b": np.full(5, -30.0)}
    words = layout.encode(payload, rounding("mix"))
    assert words.shape == (layout.words,)
    assert words.dtype == np.uint64
    sums = layout.decode(summed(words, 30), 30)
    assert list(sums) == ["a", "n", "b"]
    assert sums["a"] == pytest.approx(np.full(7, 15.0))
    assert sums["n"].tolist() == [0, 3 * 10**7]
    assert sums["b"] == pytest.approx(np.full(5, -900.0))


def test_words_are_the_integers_as_digits() -> None:
    """Counts make the integers known: words are Σ digit·radix^lane, least significant lane first."""
    layout = Layout((Segment("n", 5, 200, "count"),), 28, 8)
    counts = [0, 1, 128, 199, 200]
    words = layout.encode({"n": np.array(counts)}, rounding("digits"))
    padded = [*counts, *[0] * (layout.words * layout.lanes_used - 5)]
    by_word = [
        padded[start : start + layout.lanes_used] for start in range(0, len(padded), layout.lanes_used)
    ]
    assert words.tolist() == [sum(c * layout.radix**i for i, c in enumerate(lanes)) for lanes in by_word]


# rounding


@pytest.mark.parametrize("value", [-1.0, -0.734, -1e-5, 0.0, 1e-9, 0.2, 0.99999, 1.0])
def test_rounding_is_unbiased_and_to_the_two_nearest(value: float) -> None:
    length = 100_000
    layout = Layout((Segment("x", length, 1.0),), 1, 8)
    words = layout.encode({"x": np.full(length, value)}, rounding("unbiased"))
    decoded = layout.decode(words, 1)["x"]
    step = 2 / layout.levels
    fraction = float((Fraction(value) + 1) / 2 * layout.levels % 1)
    assert np.all(np.abs(decoded - value) <= step * (1 + 1e-9))
    assert len(np.unique(decoded)) <= 2
    # Five standard deviations of the mean, under a fixed key, plus float64's own error.
    deviation = step * math.sqrt(fraction * (1 - fraction) / length)
    assert abs(decoded.mean() - value) <= 5 * deviation + 1e-9


def test_rounding_differs_along_a_segment_longer_than_a_block() -> None:
    length = 3 * 65536 + 17
    layout = Layout((Segment("x", length, 1.0),), 1, 8)
    decoded = layout.decode(layout.encode({"x": np.full(length, 0.002)}, rounding("blocks")), 1)["x"]
    blocks = [decoded[start : start + 65536] for start in (0, 65536, 131072)]
    assert not np.array_equal(blocks[0], blocks[1])
    assert not np.array_equal(blocks[1], blocks[2])


def test_rounding_depends_on_the_key_alone() -> None:
    layout = mixed(10)
    payload = zeros(layout, a=np.linspace(-0.5, 0.5, 7), b=np.linspace(-3, 3, 5))
    first = layout.encode(payload, rounding("same"))
    assert np.array_equal(layout.encode(payload, rounding("same")), first)
    assert not np.array_equal(layout.encode(payload, rounding("another")), first)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int64])
def test_any_real_type_is_encoded(dtype: type[np.generic]) -> None:
    layout = Layout((Segment("x", 3, 1.0),), 2, 16)
    words = layout.encode({"x": np.array([-1, 0, 1], dtype=dtype)}, rounding("dtype"))
    assert layout.decode(words, 1)["x"] == pytest.approx([-1, 0, 1], abs=2 / layout.levels)


# refusals


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.5000001, -0.5000001, 1e300])
@pytest.mark.parametrize("place", [0, 3, 6])
def test_values_out_of_range_are_refused(bad: float, place: int) -> None:
    values = np.zeros(7)
    values[place] = bad
    with pytest.raises(ValueError, match="segment a leaves its range"):
        mixed(10).encode(zeros(mixed(10), a=values), rounding("bad"))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1, 10**6 + 1])
def test_counts_out_of_range_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="segment n "):
        mixed(10).encode(zeros(mixed(10), n=np.array([0, bad])), rounding("bad"))


@pytest.mark.parametrize("names", [("a", "n"), ("a", "n", "b", "c"), ("a", "n", "c"), ()])
def test_other_segments_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not the layout's"):
        mixed(10).encode({name: np.zeros(7) for name in names}, rounding("bad"))


@pytest.mark.parametrize("shape", [(6,), (8,), (7, 1), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="has shape"):
        mixed(10).encode(zeros(mixed(10), a=np.zeros(shape)), rounding("bad"))


@pytest.mark.parametrize("contributors", [0, -1, 11])
def test_impossible_numbers_of_contributors_are_refused(contributors: int) -> None:
    layout = mixed(10)
    with pytest.raises(ValueError, match="not a sum in this layout"):
        layout.decode(np.zeros(layout.words, dtype=np.uint64), contributors)


@pytest.mark.parametrize("difference", [-1, 1])
def test_words_of_another_layout_are_refused(difference: int) -> None:
    layout = mixed(10)
    with pytest.raises(ValueError, match="not a sum in this layout"):
        layout.decode(np.zeros(layout.words + difference, dtype=np.uint64), 1)


@pytest.mark.parametrize("contributors", [1, 2, 9])
@pytest.mark.parametrize("lane", [0, 1, 2])
def test_lanes_above_what_contributors_can_send_are_refused(contributors: int, lane: int) -> None:
    layout = Layout((Segment("x", 3, 1.0),), 10, 16)
    most = contributors * layout.levels
    layout.decode(np.array([most * layout.radix**lane], dtype=np.uint64), contributors)
    with pytest.raises(ValueError, match="exceeds"):
        layout.decode(np.array([(most + 1) * layout.radix**lane], dtype=np.uint64), contributors)


def test_words_above_the_highest_lane_are_refused() -> None:
    layout = Layout((Segment("x", 3, 1.0),), 10, 16)
    beyond = layout.radix**layout.lanes_used
    assert beyond < 2**64
    for word in (beyond, 2**64 - 1):
        with pytest.raises(ValueError, match="exceeds"):
            layout.decode(np.array([word], dtype=np.uint64), 10)


def test_random_words_are_no_sum() -> None:
    """A sum whose masks did not cancel is noticed: lanes leave a part of the ring unused."""
    layout = Layout((Segment("x", 3000, 1.0),), 10, 16)
    noise = rounding("noise").words32(2 * layout.words).view(np.uint64)
    with pytest.raises(ValueError, match="exceeds"):
        layout.decode(noise, 10)


def test_fractional_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="holds integers"):
        mixed(10).encode(zeros(mixed(10), n=np.array([0.0, 1.5])), rounding("bad"))


def test_a_count_sum_beyond_its_bound_is_refused() -> None:
    layout = Layout((Segment("n", 1, 10, "count"),), 1, 16)
    with pytest.raises(ValueError, match="exceeds what its contributors"):
        layout.decode(np.array([60_000], dtype=np.uint64), 1)


def test_padding_lanes_must_stay_empty() -> None:
    layout = Layout((Segment("n", 1, 60_000, "count"),), 2, 16)
    with pytest.raises(ValueError, match="exceeds what its contributors"):
        layout.decode(np.array([layout.radix * 7 + 5], dtype=np.uint64), 2)

"""Batches: every row once, the same order for the same seed, and little padding."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.client.batches import shuffled_batches, snug_batches, sorted_batches

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=400)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 20), st.integers(0, 2**32))
def test_every_row_comes_once(lengths, size, seed):
    batches = list(shuffled_batches(lengths, size, np.random.default_rng(seed)))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)
    assert list(shuffled_batches(lengths, size, np.random.default_rng(seed))) == batches


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 20))
def test_sorted_batches_are_by_length(lengths, size):
    rows = [row for batch in sorted_batches(lengths, size) for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 20), st.integers(0, 100))
def test_snug_batches_are_by_length_and_never_cost_more(lengths, size, pass_cost):
    batches = list(snug_batches(lengths, size, pass_cost))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    longest = [lengths[row] for batch in batches for row in (batch[-1], batch[0])]
    assert longest == sorted(longest, reverse=True)
    equal = [widths(batch, lengths) for batch in sorted_batches(lengths, size)]
    assert cost([widths(batch, lengths) for batch in batches], pass_cost) <= cost(equal, pass_cost)


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 5), st.integers(0, 12))
def test_snug_batches_are_the_cheapest_of_all_cuts(lengths, size, pass_cost):
    ordered = sorted(lengths)

    def cheapest(start):
        if start == len(ordered):
            return 0
        ends = range(start + 1, min(start + size, len(ordered)) + 1)
        return min(cost([ordered[start:end]], pass_cost) + cheapest(end) for end in ends)

    found = [widths(batch, lengths) for batch in snug_batches(lengths, size, pass_cost)]
    assert cost(found, pass_cost) == cheapest(0)


def test_snug_batches_of_nothing():
    assert list(snug_batches([], 4, 10)) == []


def widths(batch, lengths):
    return [lengths[row] for row in batch]


def cost(batches, pass_cost):
    """Tokens of all batches, padding included, with their passes' cost."""
    return sum(len(batch) * max(batch) + pass_cost for batch in batches)


def test_another_seed_gives_another_order():
    lengths = [5] * 100
    orders = [list(shuffled_batches(lengths, 10, np.random.default_rng(seed))) for seed in (1, 2)]
    assert orders[0] != orders[1]


def padding(batches, lengths):
    """Padded share of all positions."""
    computed = sum(max(lengths[row] for row in batch) * len(batch) for batch in batches)
    return 1 - sum(lengths) / computed


def test_padding_is_small():
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(3, 0.7, 2000).astype(int), 1, 128).tolist()
    bucketed = padding(shuffled_batches(lengths, 16, np.random.default_rng(1)), lengths)
    rows = np.random.default_rng(1).permutation(2000).tolist()
    plain = padding([rows[at : at + 16] for at in range(0, 2000, 16)], lengths)
    assert bucketed < 0.05 < 0.4 < plain


def test_lengths_do_not_decide_when_a_row_comes():
    """Within a span the batches are shuffled: the longest are not always last."""
    lengths = list(range(1, 101))
    firsts = {next(shuffled_batches(lengths, 10, np.random.default_rng(seed)))[0] // 10 for seed in range(30)}
    assert len(firsts) > 5

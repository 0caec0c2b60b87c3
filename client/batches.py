"""Length-bucketed batches: rows of like length together, so that little is computed on padding."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

BUCKETED_BATCHES = 64
"""Batches whose rows are sorted together; more would pad less and shuffle less."""


def shuffled_batches(
    lengths: Sequence[int], batch_size: int, generator: np.random.Generator
) -> Iterator[list[int]]:
    """One pass over the rows as lists of row numbers, shuffled, each list of like lengths.

    Rows are shuffled, cut into spans of `BUCKETED_BATCHES` batches, sorted by length within a span
    (ties stay shuffled), cut into batches, and the span's batches are shuffled.
    """
    order = generator.permutation(len(lengths))
    span = batch_size * BUCKETED_BATCHES
    for start in range(0, len(order), span):
        rows = sorted(order[start : start + span].tolist(), key=lambda row: lengths[row])
        batches = [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
        for index in generator.permutation(len(batches)):
            yield batches[index]


def sorted_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """All rows once, by length: for evaluation and prediction."""
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def snug_batches(lengths: Sequence[int], batch_size: int, pass_cost: int) -> Iterator[list[int]]:
    """All rows once, by length, in batches of at most `batch_size`, cut where they compute the least.

    A batch costs its rows times its longest row, in tokens, and `pass_cost` tokens on top. Equal cuts
    of a few hundred rows would spend a fifth on padding, most of it on the few long rows.
    """
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    starts = _cheapest_starts([lengths[row] for row in rows], batch_size, pass_cost)
    end = len(rows)
    while end:
        yield rows[starts[end] : end]
        end = starts[end]


def _cheapest_starts(widths: Sequence[int], batch_size: int, pass_cost: int) -> dict[int, int]:
    """Where the batch that ends at each place should start, for ascending widths (dynamic programming).

    Some cheapest cutting has only full batches and such that end before a longer row, so no others
    are tried: what is left is one choice for each length, however many rows share it.
    """
    rises = [at for at in range(1, len(widths)) if widths[at] > widths[at - 1]]
    costs, starts = {0: 0}, dict[int, int]()
    for start in range(len(widths)):
        if start not in costs:
            continue
        full = min(start + batch_size, len(widths))
        for end in (*rises[bisect_right(rises, start) : bisect_left(rises, full)], full):
            cost = costs[start] + (end - start) * widths[end - 1] + pass_cost
            if cost < costs.get(end, math.inf):
                costs[end], starts[end] = cost, start
    return starts

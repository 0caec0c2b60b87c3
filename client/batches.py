"""Length-bucketed batches: rows of like length together, so that little is computed on padding."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from sealora.models.task import Example

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


def collate(examples: Sequence[Example], padding: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(token ids, attention mask), both int64 of shape (rows, longest); no mask if nothing is padded."""
    width = max(len(example.tokens) for example in examples)
    tokens = np.full((len(examples), width), padding, dtype=np.int64)
    mask = np.zeros((len(examples), width), dtype=np.int64)
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = example.tokens
        mask[row, : len(example.tokens)] = 1
    return torch.from_numpy(tokens), None if mask.all() else torch.from_numpy(mask)

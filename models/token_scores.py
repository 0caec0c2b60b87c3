"""Losses of chosen tokens: the hidden states that predict them are picked out before the large last layer.

A language model's last layer is as wide as its vocabulary. Where only answers, or masked words, are learnt,
most of its rows would be computed for nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from sealora.models.batch import Batch, padded, padded_inputs
from sealora.protocol.errors import ModelError

LEFT_OUT = -100
"""Stands in targets where there is no token to be predicted."""


@dataclass(frozen=True)
class Scored:
    """A sequence of tokens, and which of its places predict what."""

    tokens: Sequence[int]
    places: Sequence[int]
    """Places whose hidden states predict."""
    labels: Sequence[int]
    """The tokens to be predicted there."""


def apart(sequences: Sequence[Scored], padding: int) -> Batch:
    """A row for each sequence. Targets are int64 (sequences, most labels), `LEFT_OUT` at the end of rows."""
    targets = padded([sequence.labels for sequence in sequences], LEFT_OUT)
    columns = padded([sequence.places for sequence in sequences], 0)
    rows = torch.arange(len(sequences))[:, None].expand_as(columns)
    inputs = padded_inputs([sequence.tokens for sequence in sequences], padding)
    return Batch(inputs, targets, {"rows": rows, "columns": columns, "labels": targets})


def packed(sequences: Sequence[Scored], padding: int, width: int) -> Batch:
    """Several sequences in a row of at most `width` tokens, or one longer one.

    Positions start anew with each sequence, from which transformers makes the attention mask that keeps
    them apart. Targets are those of `apart`.
    """
    bins = fit([len(sequence.tokens) for sequence in sequences], width)
    tokens = [[token for number in row for token in sequences[number].tokens] for row in bins]
    positions = [[place for number in row for place in range(len(sequences[number].tokens))] for row in bins]
    found = [
        (row, start + place, label, number, slot)
        for row, start, number in _starts(bins, sequences)
        for slot, (place, label) in enumerate(
            zip(sequences[number].places, sequences[number].labels, strict=True)
        )
    ]
    columns = torch.tensor(found, dtype=torch.int64).T
    names = ("rows", "columns", "labels", "examples", "slots")
    return Batch(
        {"input_ids": padded(tokens, padding), "position_ids": padded(positions, 0)},
        padded([sequence.labels for sequence in sequences], LEFT_OUT),
        dict(zip(names, columns, strict=True)),
    )


def _starts(bins: Sequence[Sequence[int]], sequences: Sequence[Scored]) -> Iterator[tuple[int, int, int]]:
    """(row, first column, sequence) of every sequence."""
    for row, numbers in enumerate(bins):
        start = 0
        for number in numbers:
            yield row, start, number
            start += len(sequences[number].tokens)


def fit(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Numbers of the lengths in bins that hold at most `width`, the longest first (first-fit decreasing)."""
    bins: list[list[int]] = []
    left: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        place = next((place for place, room in enumerate(left) if lengths[number] <= room), len(bins))
        if place == len(bins):
            bins.append([])
            left.append(width)
        bins[place].append(number)
        left[place] -= lengths[number]
    return bins


def token_scores(model: Any, batch: Batch) -> torch.Tensor:
    """Loss of every chosen token and whether it is the likeliest, float32 (examples, most labels, 2)."""
    places = batch.places
    with _picked(model.get_output_embeddings(), places["rows"], places["columns"]):
        logits = model(**batch.inputs, **_without_cache(model)).logits
    logits, labels = logits.flatten(0, -2).float(), places["labels"].flatten()
    losses = functional.cross_entropy(logits, labels, reduction="none", ignore_index=LEFT_OUT)
    scores = torch.stack([losses, (logits.argmax(dim=-1) == labels).float()], dim=-1)
    if "slots" not in places:
        return scores.reshape(*batch.targets.shape, 2)
    table = scores.new_zeros((*batch.targets.shape, 2))
    return table.index_put((places["examples"], places["slots"]), scores)


def mean_losses(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean loss of every example's tokens, shape (examples,); 0 for one without."""
    known = targets != LEFT_OUT
    return (scores[..., 0] * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def _without_cache(model: Any) -> dict[str, bool]:
    """Decoders keep no keys and values: they are of no use here, and mean that nothing is packed."""
    return {"use_cache": False} if hasattr(model.config, "use_cache") else {}


@contextmanager
def _picked(head: Any, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Let the last layer see the hidden states of these places only, shape (*rows.shape, width)."""
    if head is None:
        raise ModelError("this model has no layer that predicts tokens.", "Choose another model.")

    def pick(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        chosen = inputs[0][rows, columns]
        return (chosen if chosen.dim() == 3 else chosen[None],)

    handle = head.register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()

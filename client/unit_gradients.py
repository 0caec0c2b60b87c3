"""The clipped sum of gradients by unit of privacy.

A group's gradient is the sum of its rows' gradients, clipped once. Whole groups go through the model
together as long as their rows fit into one microbatch, and a larger group by itself, so memory is that of
two microbatches' gradients, however large a group is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import nn

from sealora.client.per_example import PerExampleGradients, clipped_sum
from sealora.models.task import Example

Unit = Sequence[Example]
Gradients = dict[str, torch.Tensor]
Losses = Callable[[Sequence[Example]], torch.Tensor]
"""Gives each example's loss with its graph."""
Passes = Callable[[Sequence[Example], int], Iterable[list[int]]]
"""Cuts rows into forward passes of at most so many: all row numbers once."""


def clipped_unit_sum(
    recorder: PerExampleGradients,
    losses: Losses,
    passes: Passes,
    parameters: Mapping[str, nn.Parameter],
    units: Sequence[Unit],
    microbatch: int,
    clipping_norm: float,
) -> torch.Tensor:
    """Σ_u clip(Σ_{e ∈ u} g_e) as `clipped_sum` has it, of all rows given."""
    total = torch.zeros(sum(p.numel() for p in parameters.values()), dtype=torch.float64)
    with recorder.recording():
        for chosen in together([len(unit) for unit in units], microbatch):
            rows = [(place, row) for place, unit in enumerate(chosen) for row in units[unit]]
            sums: Gradients = {}
            for numbers in passes([row for _, row in rows], microbatch):
                found = recorder.of(losses([rows[number][1] for number in numbers]))
                _add(sums, found, [rows[number][0] for number in numbers], len(chosen))
            total += clipped_sum(sums, parameters, clipping_norm)
    return total


def together(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """All units once, in lists that hold at most `most` rows, or one unit; large units first."""
    chosen: list[int] = []
    rows = 0
    for unit in sorted(range(len(sizes)), key=lambda unit: -sizes[unit]):
        if chosen and rows + sizes[unit] > most:
            yield chosen
            chosen, rows = [], 0
        chosen.append(unit)
        rows += sizes[unit]
    if chosen:
        yield chosen


def _add(sums: Gradients, gradients: Mapping[str, torch.Tensor], places: Sequence[int], units: int) -> None:
    """Add gradients by row to those of their units, shape (units, *parameter shape), by name."""
    for name, gradient in gradients.items():
        if name not in sums:
            sums[name] = gradient.new_zeros((units, *gradient.shape[1:]))
        sums[name].index_add_(0, torch.tensor(places, device=gradient.device), gradient)

"""Batches: sequences of tokens padded to rectangles, with what a task needs beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True)
class Batch:
    """Examples ready for the model."""

    inputs: Mapping[str, torch.Tensor]
    """The model's arguments by name."""
    targets: torch.Tensor
    """What the task's losses and counts understand; its first axis is the examples'."""
    places: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What else the task's own `forward` needs, such as where the tokens are that count."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        if device.type == "cpu":
            return self
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        places = {name: tensor.to(device) for name, tensor in self.places.items()}
        return Batch(inputs, self.targets.to(device), places)


def padded_inputs(sequences: Sequence[Sequence[int]], padding: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask`, int64 (rows, longest); no mask if nothing is padded."""
    tokens = padded(sequences, padding)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    if bool((lengths == tokens.shape[1]).all()):
        return {"input_ids": tokens}
    mask = (torch.arange(tokens.shape[1])[None, :] < lengths[:, None]).long()
    return {"input_ids": tokens, "attention_mask": mask}


def padded(sequences: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
    """int64 (rows, longest), filled up at the right."""
    table = np.full((len(sequences), max(map(len, sequences))), padding, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        table[row, : len(sequence)] = sequence
    return torch.from_numpy(table)

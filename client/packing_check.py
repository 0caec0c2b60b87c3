"""The test before the first packed batch: rows that share a row of the batch do not see each other.

Whether they do is decided by the model's code, from positions that start anew; one that ignores them would
let one conversation leak into the next, and nothing else would show it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from sealora.models.batch import Batch
from sealora.models.task import Example, Task
from sealora.protocol.errors import ModelError

LENGTHS = (3, 7, 5, 9)
WORDS = 8
"""The first few token ids, which every model has."""
EXACT, ROUNDED = 1e-3, 3e-2
"""Largest difference of losses, relative to them, in float32 and in half precision."""

Collate = Callable[[Sequence[Example], bool], Batch]
"""Makes a batch of examples, packed or not."""


def check_packing(task: Task, collate: Collate, losses: Callable[[Batch], torch.Tensor], exact: bool) -> None:
    """Raises ModelError if packed examples have other losses than by themselves."""
    generator = np.random.default_rng(0)
    examples = [
        task.synthetic(generator.integers(WORDS, size=length).tolist(), number)
        for number, length in enumerate(LENGTHS)
    ]
    packed = collate(examples, True)
    if packed.inputs["input_ids"].shape[0] == len(examples) * task.card.sequences:
        return
    with torch.no_grad():
        together, apart = losses(packed), losses(collate(examples, False))
    if not torch.allclose(together, apart, rtol=EXACT if exact else ROUNDED, atol=0.0):
        raise ModelError(
            "packed texts see each other in this model.", "Write packing = false under [task.options]."
        )

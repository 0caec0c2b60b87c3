"""What a site does with a model: train an adapter on its rows, and count how good one is."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sealora.models.adapter import AdapterLayout, Tensors
from sealora.models.task import Counts, Example
from sealora.strategies.strategy import Start, Trained


class Trainer(Protocol):
    """Trains one adapter at a time; keeps no state between calls."""

    @property
    def layout(self) -> AdapterLayout:
        """The adapter's tensors."""

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        """Train the named tensors from `start`. Raises RunError if the loss ceases to be finite."""

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        """The task's sum vector over the examples, by part."""

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        """What each example adds to the sum vector, once, with its number, in any order."""

"""One trainer for many simulated sites, of which several may train at the same time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from sealora.client.torch_trainer import TorchTrainer
from sealora.client.trainer import Trainer
from sealora.models.adapter import AdapterLayout, Tensors
from sealora.models.task import Counts, Example
from sealora.strategies.strategy import Start, Trained


class TrainerPool:
    """Implements Trainer. A call takes a free replica, or waits for one; all share the frozen base.

    A replica keeps nothing between calls but what the base alone makes of an example, so which one a site
    gets makes no difference. `wrap` says how
    each replica trains, if not as it is.
    """

    def __init__(
        self, trainer: TorchTrainer, workers: int, wrap: Callable[[TorchTrainer], Trainer] | None = None
    ) -> None:
        self.workers = workers
        self._trainer = trainer
        self._free: SimpleQueue[Trainer] = SimpleQueue()
        for replica in [trainer, *(trainer.replica() for _ in range(workers - 1))]:
            self._free.put(wrap(replica) if wrap is not None else replica)

    @property
    def layout(self) -> AdapterLayout:
        """The adapter's tensors."""
        return self._trainer.layout

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        """See Trainer."""
        with self._one() as trainer:
            return trainer.train(start, trains, examples, round_number, seed)

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        """See Trainer."""
        with self._one() as trainer:
            return trainer.evaluate(tensors, examples)

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        """See Trainer."""
        with self._one() as trainer:
            yield from trainer.rows(tensors, examples)

    def stop(self) -> None:
        """Make all calls end soon, with a RunError."""
        self._trainer.stop()

    @contextmanager
    def _one(self) -> Iterator[Trainer]:
        trainer = self._free.get()
        try:
            yield trainer
        finally:
            self._free.put(trainer)

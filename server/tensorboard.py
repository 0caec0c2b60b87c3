"""An observer that writes the learning curve for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from sealora.server.events import Evaluated, Event, RoundDone, RoundRecord, RunStarted


class TensorBoardLog:
    """Scalars by round: training loss, metrics of the model after each round, bytes and seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rounds = 0

    def notify(self, event: Event) -> None:
        """Write what a finished round or the final evaluation shows."""
        if isinstance(event, RunStarted):
            self._rounds = event.rounds
        elif isinstance(event, RoundDone):
            self._write(event.record.round - 1, event.record.metrics, event.record)
        elif isinstance(event, Evaluated):
            self._write(self._rounds, event.metrics, None)

    def _write(self, step: int, metrics: Mapping[str, float], record: RoundRecord | None) -> None:
        # A writer for each round: nothing is lost in a crash, and no thread outlives the run.
        with SummaryWriter(str(self._folder)) as writer:
            for name, value in metrics.items():
                writer.add_scalar(f"model/{name}", value, step)
            if record is not None:
                writer.add_scalar("round/train_loss", record.train_loss, record.round)
                writer.add_scalar("round/bytes_up", record.bytes_up, record.round)
                writer.add_scalar("round/seconds", sum(record.seconds.values()), record.round)

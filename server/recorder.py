"""An observer that keeps what a result is made of."""

from dataclasses import dataclass

from sealora.server.events import BudgetSpent, Event, RoundDone, RoundRecord, RunStarted


@dataclass
class Recorder:
    """Keeps the history of all rounds, those before a restart included."""

    history: tuple[RoundRecord, ...] = ()
    stopped: str | None = None
    """Why the run ended before its last round."""
    _rounds: int = 0

    def notify(self, event: Event) -> None:
        """Take note of rounds, and of an end before the last."""
        if isinstance(event, RunStarted):
            self.history, self._rounds = event.history, event.rounds
        elif isinstance(event, RoundDone):
            self.history = (*self.history, event.record)
        elif isinstance(event, BudgetSpent) and event.round <= self._rounds:
            self.stopped = (
                f"The privacy budgets of {_counted(event.sites)} do not pay for round {event.round}: the "
                f"model is that of round {event.round - 1}. What is spent does not come back."
            )


def _counted(sites: tuple[str, ...]) -> str:
    """How many sites; a resumed run that had ended does not know."""
    return f"{len(sites)} sites" if sites else "the sites"

"""An observer that writes a run's events to the process's log."""

from dataclasses import asdict

from sealora.plan.logs import Log
from sealora.server.events import Event, RoundDone, RunStarted

SHOWN = ("rounds", "round", "attempt", "phase", "site", "sites", "reason", "text", "contributors", "diverged")


class EventLogger:
    """One line an event, with the fields that a person looks for."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def notify(self, event: Event) -> None:
        """Write it."""
        content = asdict(event.record if isinstance(event, RoundDone) else event)
        shown = {name: content[name] for name in SHOWN if name in content}
        if isinstance(event, RunStarted):
            shown["done"] = len(event.history)
        self._log(type(event).__name__, **shown)

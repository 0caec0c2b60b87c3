"""Where a run stands, in a file that others may read while it goes on."""

import json
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from sealora.protocol.errors import UsageError
from sealora.server.events import (
    AttemptLost,
    AttemptOpened,
    BudgetSpent,
    Evaluated,
    Event,
    PhaseOpened,
    RoundDone,
    RunStarted,
    SiteAnswered,
)
from sealora.server.metrics_log import finite
from sealora.server.state_lock import owner
from sealora.server.switchboard import Presence

NAME = "status.json"
SECONDS = 0.5
"""Between two writings of the file for the sake of answers alone."""


class StatusFile:
    """An observer. It tells nothing of single sites but who is there, which the coordinator sees anyway."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._content: dict[str, Any] = {"state": "starting"}
        self._written = 0.0
        self.update()

    def update(self, **fields: Any) -> None:
        """Replace fields and write the file whole. It is lost in a crash, and nothing depends on it."""
        with self._lock:
            self._content |= finite(fields)
            self._content["updated"] = datetime.now(UTC).isoformat(timespec="seconds")
            partial = self._path.with_name(NAME + ".partial")
            partial.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")
            partial.replace(self._path)
            self._written = time.monotonic()

    def present(self, presence: Presence) -> None:
        """Sites have come or gone; `until` is the end of the wait for those that are lacking."""
        until = datetime.now(UTC) + timedelta(seconds=presence.seconds_left)
        facts = {name: value for name, value in asdict(presence).items() if name != "seconds_left"}
        self.update(**facts, until=until.isoformat(timespec="seconds"))

    def notify(self, event: Event) -> None:
        """Take note of what a person wants to know."""
        match event:
            case RunStarted():
                self.update(state="running", rounds=event.rounds, done=len(event.history), sites=event.sites)
            case AttemptOpened():
                self.update(round=event.round, attempt=event.attempt, cohort=event.cohort)
            case PhaseOpened():
                self.update(phase=event.phase, asked=event.sites, answered=0)
            case SiteAnswered():
                self._answered()
            case AttemptLost():
                self.update(lost=event.reason)
            case RoundDone():
                self.update(done=event.record.round, metrics=event.record.metrics)
            case BudgetSpent():
                self.update(stopped=f"privacy budgets do not pay for round {event.round}")
            case Evaluated():
                self.update(state="finished", metrics=event.metrics)

    def _answered(self) -> None:
        """Many answers come in one second; the last is shown at the latest when the phase ends."""
        answered = self._content.get("answered", 0) + 1
        if time.monotonic() - self._written < SECONDS:
            self._content["answered"] = answered
        else:
            self.update(answered=answered)


class _Known(BaseModel):
    """What is shown of the file, as far as it is there."""

    model_config = ConfigDict(strict=True, extra="allow")

    state: str
    rounds: int = 0
    done: int = 0
    round: int = 0
    attempt: int = 0
    phase: str = ""
    asked: int = 0
    answered: int = 0
    connected: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    lacking: int = 0
    until: AwareDatetime | None = None
    stopped: str | None = None
    metrics: dict[str, float | None] | None = None


def read_status(folder: Path) -> dict[str, Any]:
    """What the file says, and whether the coordinator lives: `process` is its number, or None.

    Raises: UsageError if the folder holds no run, or the file is damaged; RunError as `owner` does.
    """
    try:
        raw = (folder / NAME).read_bytes()
    except OSError:
        raise UsageError(
            f"{folder} holds no run.", "Name the folder of `sealora server run --state`."
        ) from None
    try:
        _Known.model_validate_json(raw)
        content: dict[str, Any] = json.loads(raw)
    except (ValueError, RecursionError):
        raise UsageError(
            f"{folder / NAME} is damaged.", "A coordinator that is started on the folder writes it anew."
        ) from None
    process = owner(folder)
    if process is None and content["state"] != "finished":
        content["state"] = "stopped"
    return {**content, "process": process}

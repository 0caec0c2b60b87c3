"""Observers that write files: one line of JSON for each round, and one for each event."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealora.plan.durable import write_durably
from sealora.server.events import Evaluated, Event, RoundDone, RoundRecord, RunStarted


class MetricsLog:
    """`metrics.jsonl`: a line for each finished round, then one for the final model.

    After a restart the file is rewritten from the checkpoint's history, so no round stands twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def notify(self, event: Event) -> None:
        """Take note of finished rounds and the final evaluation."""
        if isinstance(event, RunStarted):
            self._lines = [_line(_of_round(record)) for record in event.history]
        elif isinstance(event, RoundDone):
            self._lines.append(_line(_of_round(event.record)))
        elif isinstance(event, Evaluated):
            self._lines.append(_line({"final": True, "metrics": event.metrics}))
        else:
            return
        write_durably(self._path, "".join(self._lines).encode())


class EventLog:
    """`events.jsonl`: everything that happened, in order, across restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def notify(self, event: Event) -> None:
        """Append the event with the time; a start leaves its history to the lines before it."""
        content = asdict(event)
        content.pop("history", None)
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line({"time": moment, "event": type(event).__name__, **content}))


def _of_round(record: RoundRecord) -> dict[str, Any]:
    return {"metrics_of_round": record.round - 1, **asdict(record)}


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(finite(content)) + "\n"


def finite(value: Any) -> Any:
    """The value with NaN and infinities as null: JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value

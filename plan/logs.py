"""Logs of the processes that run for weeks: one JSON object a line, on standard error.

Fields are named one by one where an event is logged, so that no object that holds a secret or a
record is ever written out by itself.
"""

import json
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

MAX_TEXT = 500


class Log:
    """Writes events of one process; safe to use from several threads."""

    def __init__(self, process: str, stream: TextIO | None = None) -> None:
        self._process = process
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: Any) -> None:
        """Write a line: when, who, what, and the fields, of which texts are cut short."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        shown = {name: _short(value) for name, value in fields.items()}
        line = json.dumps({"time": moment, "process": self._process, "event": event, **shown}) + "\n"
        with self._lock:
            stream = self._stream or sys.stderr
            stream.write(line)
            stream.flush()


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return str(value)[:MAX_TEXT]

"""Figures of an agent for monitoring, in a file beside its socket: it has no network to be asked over."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from sealora.client.socket_place import SocketPlace
from sealora.protocol import messages
from sealora.protocol.messages import Refusal

Handler = Callable[[bytes], bytes]


def figures_path(socket: Path) -> Path:
    """Where the figures of the agent at this socket are."""
    return socket.with_suffix(".prom")


class Counted:
    """Calls `handle` and counts. No figure is about rows, updates or what was spent."""

    def __init__(self, handle: Handler, place: SocketPlace) -> None:
        self._handle, self._place = handle, place
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sealora_requests", "Requests that the agent worked on", registry=self._registry
        )
        self._refusals = Counter("sealora_refusals", "Requests that it refused", registry=self._registry)
        self._seconds = Counter("sealora_work_seconds", "Seconds that it worked", registry=self._registry)
        self._last = Gauge(
            "sealora_last_answer_timestamp_seconds", "When it last answered", registry=self._registry
        )
        self._write()

    def __call__(self, request: bytes) -> bytes:
        """The reply. Raises what `handle` does."""
        began = time.perf_counter()
        reply = self._handle(request)
        self._seconds.inc(time.perf_counter() - began)
        self._requests.inc()
        self._refusals.inc(isinstance(messages.parse_reply(reply), Refusal))
        self._last.set_to_current_time()
        self._write()
        return reply

    def _write(self) -> None:
        # A full disk is the audit log's to report: figures are no reason to answer nothing.
        with suppress(OSError):
            path = figures_path(self._place.path)
            partial = path.with_name(f"{path.name}.partial")
            partial.unlink(missing_ok=True)
            # A new file and no link: others may be able to write to this folder.
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(generate_latest(self._registry))
                self._place.share(descriptor, 0o640)
            partial.replace(path)

"""Figures and health for monitoring, on loopback: `/metrics` as Prometheus reads it, and `/health`."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app

from sealora.protocol.errors import UsageError
from sealora.server.events import AttemptLost, Event, RoundDone, RunStarted, SiteAnswered, SiteRefused
from sealora.server.switchboard import Presence

LOOPBACK = "127.0.0.1"


class RunMetrics:
    """An observer. No figure is about one site's data or update; sites are counted, not named."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rounds = self._gauge("rounds_done", "Rounds whose sum became the next model")
        self._planned = self._gauge("rounds_planned", "Rounds of the plan")
        self._connected = self._gauge("sites_connected", "Sites with an open link")
        self._seconds = self._gauge("round_seconds", "Seconds that the last round took")
        self._answers = self._counter("answers", "Answers of sites that counted")
        self._refusals = self._counter(
            "refusals", "Requests that sites refused, and answers that were refused"
        )
        self._lost = self._counter("attempts_lost", "Attempts that ended without a sum")
        self._up = self._counter("bytes_received", "Bytes of answers")
        self._down = self._counter("bytes_sent", "Bytes of requests that were answered")

    def notify(self, event: Event) -> None:
        """Count it."""
        match event:
            case RunStarted():
                self._planned.set(event.rounds)
                self._rounds.set(len(event.history))
            case SiteAnswered():
                self._answers.inc()
                self._up.inc(event.bytes_up)
                self._down.inc(event.bytes_down)
            case SiteRefused():
                self._refusals.inc()
            case AttemptLost():
                self._lost.inc()
            case RoundDone():
                self._rounds.set(event.record.round)
                self._seconds.set(sum(event.record.seconds.values()))

    def present(self, presence: Presence) -> None:
        """Sites have come or gone."""
        self._connected.set(len(presence.connected))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"sealora_{name}", text, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"sealora_{name}", text, registry=self.registry)


class MetricsEndpoint:
    """Serves until closed, on loopback only. Raises UsageError if the port cannot be had."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        try:
            self._server = make_server(LOOPBACK, port, _routes(registry), handler_class=_Quiet)
        except OSError as error:
            raise UsageError(f"cannot serve metrics on port {port} ({error.strerror}).") from None
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Quiet(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests of a monitor every few seconds are no events."""


def _routes(registry: CollectorRegistry) -> Callable[..., Iterable[bytes]]:
    metrics = make_wsgi_app(registry)

    def serve(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environment.get("PATH_INFO")
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environment, start)
            return answer
        known = path == "/health"
        start("200 OK" if known else "404 Not Found", [("Content-Type", "text/plain")])
        return [b"ok\n" if known else b"see /metrics and /health\n"]

    return serve

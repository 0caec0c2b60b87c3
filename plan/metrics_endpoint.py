"""Figures and health for monitoring, on loopback: `/metrics` as Prometheus reads it, and `/health`."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from sealora.protocol.errors import UsageError

LOOPBACK = "127.0.0.1"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
MOST = 8
"""Requests at a time; one more takes the place of the oldest."""
SECONDS = 10
"""From when a connection is made until it is answered; then it is ended."""


class MetricsEndpoint:
    """Serves until closed, on loopback only. Raises UsageError if the port cannot be had.

    Parameters: `figures` gives the text of `/metrics`; `trouble` says in a line why the process is not
    healthy, and nothing where it is.
    """

    def __init__(
        self, port: int, figures: Callable[[], bytes], trouble: Callable[[], str] = lambda: ""
    ) -> None:
        try:
            self._server = make_server(LOOPBACK, port, _routes(figures, trouble), _Server, _Quiet)
        except OSError as error:
            raise UsageError(
                f"cannot serve metrics on port {port} ({error.strerror}).",
                "Choose another --metrics-port; 0 takes any.",
            ) from None
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


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request: any local user may ask, and be slow; only that thread waits."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}
        """Connections, oldest first, and when they were made."""
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            if len(self._open) >= MOST:
                self._end(next(iter(self._open)))
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called after each connection, and twice a second while there is none."""
        with self._lock:
            old = time.monotonic() - SECONDS
            for request in [request for request, since in self._open.items() if since < old]:
                self._end(request)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            for request in list(self._open):
                self._end(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no event."""

    def _end(self, request: socket.socket) -> None:
        """Its thread, wherever it waits, finds it closed; it closes its own end. Needs the lock."""
        del self._open[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Requests of a monitor every few seconds are no events."""


def _routes(figures: Callable[[], bytes], trouble: Callable[[], str]) -> Callable[..., Iterable[bytes]]:
    def answer(path: object) -> tuple[str, str, bytes]:
        if path == "/metrics":
            return "200 OK", PROMETHEUS, figures()
        if path == "/health":
            why = trouble()
            return "503 Service Unavailable" if why else "200 OK", TEXT, f"{why or 'ok'}\n".encode()
        return "404 Not Found", TEXT, b"see /metrics and /health\n"

    def serve(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, content = answer(environment.get("PATH_INFO"))
        start(status, [("Content-Type", kind), ("Content-Length", str(len(content)))])
        return [content]

    return serve

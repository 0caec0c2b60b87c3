"""Figures and health for monitoring, on loopback: `/metrics` as Prometheus reads it, and `/health`."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, make_server

from sealora.protocol.errors import UsageError

LOOPBACK = "127.0.0.1"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


class MetricsEndpoint:
    """Serves until closed, on loopback only. Raises UsageError if the port cannot be had.

    Parameters: `figures` gives the text of `/metrics`; `trouble` says in a line why the process is not
    healthy, and nothing where it is.
    """

    def __init__(
        self, port: int, figures: Callable[[], bytes], trouble: Callable[[], str] = lambda: ""
    ) -> None:
        try:
            self._server = make_server(LOOPBACK, port, _routes(figures, trouble), handler_class=_Quiet)
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


class _Quiet(WSGIRequestHandler):
    timeout = 10

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

"""Figures and health over HTTP, on loopback only."""

import http.client
import socket
from contextlib import ExitStack

import pytest

from sealora.plan import metrics_endpoint
from sealora.plan.metrics_endpoint import MetricsEndpoint
from sealora.protocol.errors import UsageError


def get(endpoint, path):
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()
    finally:
        connection.close()


def test_figures_and_health():
    trouble = [""]
    with MetricsEndpoint(0, lambda: b"rounds 3\n", lambda: trouble[0]) as endpoint:
        assert get(endpoint, "/metrics") == (200, "text/plain; version=0.0.4; charset=utf-8", "rounds 3\n")
        assert get(endpoint, "/health")[::2] == (200, "ok\n")
        trouble[0] = "no agent"
        assert get(endpoint, "/health")[::2] == (503, "no agent\n")
        assert get(endpoint, "/keys/identity.pem")[0] == 404


def test_it_listens_on_loopback_only_and_says_where_it_cannot():
    with MetricsEndpoint(0, bytes) as endpoint:
        assert endpoint._server.server_address[0] == "127.0.0.1"
        with pytest.raises(UsageError, match=rf"cannot serve metrics on port {endpoint.port} \(.*in use"):
            MetricsEndpoint(endpoint.port, bytes)


def half_asked(endpoint):
    """A connection on which a request was begun."""
    connection = socket.create_connection(("127.0.0.1", endpoint.port), timeout=30)
    connection.sendall(b"GET /metr")
    return connection


def test_whoever_asks_slowly_holds_up_nobody():
    with ExitStack() as stack:
        with MetricsEndpoint(0, bytes) as endpoint:
            slow = [stack.enter_context(half_asked(endpoint)) for _ in range(3)]
            assert get(endpoint, "/health")[0] == 200
        assert [connection.recv(1) for connection in slow] == [b""] * 3, "it did not wait for them"


def test_one_request_too_many_takes_the_place_of_the_oldest(monkeypatch):
    monkeypatch.setattr(metrics_endpoint, "MOST", 2)
    with MetricsEndpoint(0, bytes) as endpoint, ExitStack() as stack:
        first, second, third = (stack.enter_context(half_asked(endpoint)) for _ in range(3))
        assert first.recv(1) == b""
        assert get(endpoint, "/health")[0] == 200
        assert second.recv(1) == b""
        third.sendall(b"ics HTTP/1.0\r\n\r\n")
        assert third.recv(12, socket.MSG_WAITALL) == b"HTTP/1.0 200"


def test_a_request_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(metrics_endpoint, "SECONDS", 0.1)
    with MetricsEndpoint(0, bytes) as endpoint, half_asked(endpoint) as slow:
        assert slow.recv(1) == b""

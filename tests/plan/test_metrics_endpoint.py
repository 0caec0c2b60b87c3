"""Figures and health over HTTP, on loopback only."""

import http.client

import pytest

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

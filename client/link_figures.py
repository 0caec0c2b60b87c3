"""Figures and health of a site for monitoring, as its link knows them, and the agent's beside them.

The agent has no network to be asked over, so it leaves its figures in a file, and the link serves both.
"""

from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class LinkFigures:
    """What a link counts. `trouble` is why it does not work, for `/health`; empty while it does."""

    def __init__(self) -> None:
        self.trouble = "it is starting"
        self.registry = CollectorRegistry()
        self._agent = self._gauge("agent_connected", "Whether the agent answers its link")
        self._coordinator = self._gauge(
            "coordinator_connected", "Whether the coordinator has greeted the site"
        )
        self._connections = self._counter("connections", "Connections to the coordinator so far")
        self._sent = self._counter("link_bytes_sent", "Bytes that went to the coordinator")
        self._received = self._counter("link_bytes_received", "Bytes that came from the coordinator")

    def reached_agent(self) -> None:
        """The agent accepted a connection."""
        self._agent.set(1)

    def connected(self) -> None:
        """The coordinator greeted the site."""
        self.trouble = ""
        self._coordinator.set(1)
        self._connections.inc()

    def disconnected(self, reason: str) -> None:
        """One end has gone, and so both connections end."""
        self.trouble = reason
        self._agent.set(0)
        self._coordinator.set(0)

    def sent(self, size: int) -> None:
        """Count bytes upwards."""
        self._sent.inc(size)

    def received(self, size: int) -> None:
        """Count bytes downwards."""
        self._received.inc(size)

    def exposition(self, agent: Path) -> bytes:
        """All figures as Prometheus reads them, and those in the agent's file if there is one."""
        found = b""
        with suppress(OSError):
            found = agent.read_bytes()
        return generate_latest(self.registry) + found

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"sealora_{name}", text, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"sealora_{name}", text, registry=self.registry)

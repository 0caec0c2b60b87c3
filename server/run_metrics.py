"""Figures of a run for monitoring: an observer that counts what happens."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from sealora.server.events import AttemptLost, Event, RoundDone, RunStarted, SiteAnswered, SiteRefused
from sealora.server.switchboard import Presence


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

    def exposition(self) -> bytes:
        """All figures as Prometheus reads them."""
        return generate_latest(self.registry)

    def present(self, presence: Presence) -> None:
        """Sites have come or gone."""
        self._connected.set(len(presence.connected))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"sealora_{name}", text, registry=self.registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"sealora_{name}", text, registry=self.registry)

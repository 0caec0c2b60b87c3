"""Keeps the coordinator's log of a run: an observer that writes down what was asked and answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sealora.privacy.audit_log import AuditLog, Direction, Fact
from sealora.protocol.visible import shortened
from sealora.server.events import (
    AttemptLost,
    AttemptOpened,
    BudgetSpent,
    Evaluated,
    Event,
    GroupRecord,
    PhaseOpened,
    RoundDone,
    RunStarted,
    SiteAnswered,
    SiteRefused,
)

MAX_NAMES = 8192
"""Characters of the names in one record."""
MAX_TEXT = 4096
"""Characters of a text in one record: sites have a say in it, and JSON makes up to twelve bytes of each."""


@dataclass(frozen=True)
class AuditTrail:
    """Implements `events.Observer`. Sizes are of messages, without the link's own framing."""

    log: AuditLog

    def notify(self, event: Event) -> None:
        """Write one record. Raises RunError if it cannot be written: the run stops.

        The answers of a phase, which may be thousands, reach the disk with the next record but them.
        """
        sync = not isinstance(event, SiteAnswered)
        for kind, direction, size, facts in _records(event):
            self.log.record(kind, direction, size, detail=facts, sync=sync)


Line = tuple[str, Direction, int, Mapping[str, Fact]]


def _records(event: Event) -> list[Line]:
    match event:
        case RunStarted():
            return [("run started", "local", 0, {"rounds": event.rounds, "sites": len(event.sites)})]
        case AttemptOpened():
            facts: Mapping[str, Fact] = {"round": event.round, "attempt": event.attempt}
            return [("attempt opened", "local", 0, {**facts, "cohort": _names(event.cohort)})]
        case PhaseOpened():
            return []  # the answers say as much
        case SiteAnswered():
            facts = {"round": event.round, "site": event.site}
            asked: Line = (f"{event.phase} request", "out", event.bytes_down, facts)
            return [asked, (f"{event.phase} reply", "in", event.bytes_up, facts)]
        case SiteRefused():
            facts = {"round": event.round, "site": event.site, "reason": event.reason}
            return [("site refused", "in", 0, {**facts, "text": shortened(event.text, MAX_TEXT)})]
        case AttemptLost():
            reason = shortened(event.reason, MAX_TEXT)
            facts = {"round": event.round, "attempt": event.attempt, "reason": reason}
            return [("attempt lost", "local", 0, facts)]
        case BudgetSpent():
            return [("budget spent", "local", 0, {"round": event.round, "sites": _names(event.sites)})]
        case RoundDone():
            facts = {"round": event.record.round, "attempt": event.record.attempt}
            transcript = {"transcript": event.record.transcript, "guarantee": event.record.guarantee}
            contributors = _names(event.record.contributors)
            done: Line = ("round done", "local", 0, {**facts, **transcript, "contributors": contributors})
            return [*(_group(event.record.round, group) for group in event.record.groups), done]
        case Evaluated():
            return [("run evaluated", "local", 0, {"contributors": _names(event.contributors)})]


def _group(round_number: int, record: GroupRecord) -> Line:
    """The sum of one fixed group."""
    facts: Mapping[str, Fact] = {"round": round_number, "group": record.group, "attempt": record.attempt}
    more = {"transcript": record.transcript, "contributors": _names(record.contributors)}
    return ("group summed", "local", 0, {**facts, **more})


def _names(sites: Sequence[str]) -> str:
    """The sites by name; their number where that would not fit a line of the log."""
    joined = " ".join(sites)
    return joined if len(joined) <= MAX_NAMES else f"{len(sites)} sites"

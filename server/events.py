"""What happens in a run, as facts that observers are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class AttemptOpened:
    """A cohort is asked to work."""

    round: int
    attempt: int
    cohort: tuple[str, ...]


@dataclass(frozen=True)
class PhaseOpened:
    """A phase of the attempt begins with the sites that are left."""

    round: int
    phase: str
    sites: int


@dataclass(frozen=True)
class SiteAnswered:
    """A site's reply came; bytes as they travelled."""

    round: int
    phase: str
    site: str
    bytes_down: int
    bytes_up: int


@dataclass(frozen=True)
class SiteRefused:
    """A site declined, or broke the protocol."""

    round: int
    site: str
    reason: str
    text: str


@dataclass(frozen=True)
class AttemptLost:
    """An attempt ended without a sum."""

    round: int
    attempt: int
    reason: str


@dataclass(frozen=True)
class GroupRecord:
    """The sum of one fixed group in a finished round: each group is an attempt of its own cohort."""

    group: int
    """From 1."""
    attempt: int
    cohort: tuple[str, ...]
    contributors: tuple[str, ...]
    transcript: str
    """Hex of what a secure session agreed on; empty in a plain one."""


@dataclass(frozen=True)
class RoundRecord:
    """A finished round.

    `metrics` are those of the model that the round began with, on the contributors' test rows. With a
    privacy guarantee they are of a public table, or noised and of the contributors' training rows, or NaN;
    `train_loss` is NaN, `clipped` None and `diverged` 0.
    `seconds` maps phase names to seconds of wall-clock time; bytes are counted, both ways.
    """

    round: int
    attempt: int
    cohort: tuple[str, ...]
    contributors: tuple[str, ...]
    train_loss: float
    clipped: int | None
    metrics: Mapping[str, float]
    bytes_down: int
    bytes_up: int
    seconds: Mapping[str, float]
    guarantee: str = ""
    """What the session hid from whom."""
    transcript: str = ""
    """Hex of what a secure session agreed on; empty in a plain one."""
    noised: bool = False
    """Whether `metrics` are of training rows, with noise."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the strategy tells of its step."""
    groups: tuple[GroupRecord, ...] = ()
    """The groups that have a sum, where a strategy compares those; `attempt` is then the last of all."""
    diverged: int = 0
    """Contributors whose training came to nothing finite: they sent no change, and the largest loss."""


@dataclass(frozen=True)
class RunStarted:
    """The loop begins, perhaps after a restart: the rounds in `history` were finished before."""

    rounds: int
    sites: tuple[str, ...]
    history: tuple[RoundRecord, ...]


@dataclass(frozen=True)
class BudgetSpent:
    """The sites' privacy budgets do not pay for this round: the run ends with the model before it.

    The round after the plan's last is the release of the final model's metrics.
    """

    round: int
    sites: tuple[str, ...]
    """Those that refused; none where a resumed run had ended before."""


@dataclass(frozen=True)
class RoundDone:
    """A round's sum became the next model, and the checkpoint is on disk."""

    record: RoundRecord


@dataclass(frozen=True)
class Evaluated:
    """The final model's metrics, from the sum over the contributors' test rows.

    With a privacy guarantee they are noised and of the training rows; or nobody contributes, and they are
    of a public table, or NaN.
    """

    metrics: Mapping[str, float]
    tables: Mapping[str, object]
    contributors: tuple[str, ...]


Event = (
    RunStarted
    | AttemptOpened
    | PhaseOpened
    | SiteAnswered
    | SiteRefused
    | AttemptLost
    | BudgetSpent
    | RoundDone
    | Evaluated
)


class Observer(Protocol):
    """Told of every event in order; must not change anything."""

    def notify(self, event: Event) -> None:
        """Take note of an event."""

"""One round's sums: of the whole cohort, or of each fixed group, tried until there are enough of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sealora.models.adapter import AdapterLayout, pack
from sealora.models.task import Metrics
from sealora.plan.payload import payload_layout, plan_bounds, round_context
from sealora.plan.settings import PlanSettings
from sealora.protocol.codec import Layout, Values
from sealora.protocol.errors import AttemptFailed, AttemptPending, BudgetError, RunError
from sealora.protocol.fleet import Fleet
from sealora.protocol.groups import fixed_groups
from sealora.protocol.messages import Header, Open, Work, model_hash
from sealora.protocol.thresholds import floor
from sealora.protocol.visible import shortened
from sealora.server.attempt import Attempt, conduct
from sealora.server.cohort import quorum, select_cohort
from sealora.server.events import AttemptLost, AttemptOpened, BudgetSpent, Event, GroupRecord
from sealora.server.sessions import Sessions, Subject
from sealora.server.store import Checkpoint, CheckpointStore
from sealora.strategies.strategy import Context, Strategy

Sums = Mapping[str, Values]
MAX_REASON = 400
"""Characters of an error's reason; ten times as much is in the log."""


@dataclass
class Standing:
    """What the coordinator holds of its sites, over the rounds of one process."""

    excluded: set[str] = field(default_factory=set)
    """Who is asked for nothing more."""
    spoilers: set[str] = field(default_factory=set)
    """Of those, who sent what is no payload: each was an attacker."""


@dataclass(frozen=True)
class Gathered:
    """A round's sums, one for each attempt that yielded one."""

    attempts: tuple[Attempt, ...]
    cohort: tuple[str, ...]
    """All that were asked, also in groups without a sum."""
    sums: Sums = field(repr=False)
    """All of them added up, by segment."""

    @property
    def number(self) -> int:
        """Of the last attempt."""
        return max(attempt.number for attempt in self.attempts)

    @property
    def contributors(self) -> tuple[str, ...]:
        """All that are in a sum, sorted."""
        return tuple(sorted(site for attempt in self.attempts for site in contributors_of(attempt)))

    @property
    def apart(self) -> tuple[tuple[Sums, int], ...]:
        """What rules compare, with the number of contributors: uploads, or the sums of groups, if any."""
        first = self.attempts[0]
        if not first.group:
            return tuple((sums, 1) for sums in first.apart.values())
        return tuple((attempt.sums, len(contributors_of(attempt))) for attempt in self.attempts)

    @property
    def groups(self) -> tuple[GroupRecord, ...]:
        """The record of each group with a sum; none where there are no groups."""
        return tuple(
            GroupRecord(
                attempt.group,
                attempt.number,
                attempt.cohort,
                contributors_of(attempt),
                attempt.transcript,
            )
            for attempt in self.attempts
            if attempt.group
        )

    @property
    def seconds(self) -> Mapping[str, float]:
        """By phase. Groups that were conducted together took this time together."""
        phases = {phase: 0.0 for attempt in self.attempts for phase in attempt.seconds}
        return {phase: max(attempt.seconds.get(phase, 0.0) for attempt in self.attempts) for phase in phases}


def contributors_of(attempt: Attempt) -> tuple[str, ...]:
    """Whose payloads are in the sum of an attempt that has one."""
    assert attempt.total is not None
    return attempt.total.contributors


@dataclass
class Gathering:
    """The attempts of one round on one model. Everything that outlives it is the caller's."""

    plan: PlanSettings
    plan_hash: bytes
    task: Metrics
    strategy: Strategy
    adapter: AdapterLayout
    """The model's, unmarked."""
    fleet: Fleet
    store: CheckpointStore
    sessions: Sessions
    standing: Standing
    tell: Callable[[Event], None]
    checkpoint: Checkpoint
    number: int
    work: Work
    _done: dict[int, Attempt] = field(default_factory=dict)
    """Attempts with a sum, by group; 0 stands for all sites."""
    _lost: dict[int, RunError] = field(default_factory=dict)
    """Why a group can have no sum of this model any more, or none before the run is resumed."""
    _spoiled: set[int] = field(default_factory=set)
    """Groups whose sum a member spoiled."""
    _broke: dict[int, frozenset[str]] = field(default_factory=dict)
    """Groups that cannot pay, and those of their sites that refused to."""
    _cohorts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _reason: str = ""
    """Why the last attempt that was lost was lost."""

    def run(self) -> Gathered:
        """Ask until enough sums are there.

        Raises RunError when they cannot be had, AttemptPending when they may be had later, and BudgetError
        when the sites' privacy budgets do not pay for them.
        """
        for _ in range(self.plan.rounds.attempts):
            opened = self._open()
            conduct([attempt for attempt, _ in opened])
            for attempt, header in opened:
                self._close(attempt, header)
            if len(self._done) >= self._needed():
                return self._gathered()
            self._require_hope()
            self._require_budget()
        raise RunError(
            f"round {self.number} found no quorum in {self.plan.rounds.attempts} attempts. The last: "
            f"{shortened(self._reason, MAX_REASON)}",
            "The rounds before are kept: mend the sites and resume.",
        )

    def _open(self) -> list[tuple[Attempt, Header]]:
        """Begin an attempt for each group without a sum that may still have one, or for the whole cohort."""
        context = self._context(self.fleet.sites)
        trains = context.layout.trained
        sent = (spec.name for spec in self.strategy.broadcast(context))
        tensors = pack({name: self.checkpoint.state[name] for name in sent})
        subject = Subject(self.checkpoint.run, self.number, self.work, model_hash(tensors, trains))
        headers = dict(self._headers(subject))
        parsed = {group: Header.parse(raw) for group, raw in headers.items()}
        if parsed:
            cohort = sorted(site for header in parsed.values() for site in header.cohort)
            number = max(header.attempt for header in parsed.values())
            self.tell(AttemptOpened(self.number, number, tuple(cohort)))
        apart = self.strategy.sees == "each" and self.work == Work.TRAIN
        opened = []
        for group, raw in headers.items():
            header, sessions = parsed[group], self.sessions.of_group(group)
            opening = Open(raw, tensors, trains, sessions.sign(raw))
            attempt = self._attempt(group, header).begun(sessions.open(raw, apart), opening)
            opened.append((attempt, header))
            self._cohorts[group] = header.cohort
        return opened

    def _attempt(self, group: int, header: Header) -> Attempt:
        rounds = self.plan.rounds
        return Attempt(
            self.number,
            header.attempt,
            header.cohort,
            self._layout(header.cohort),
            self.fleet,
            rounds.deadline,
            self.tell,
            rounds.attempts,
            group,
        )

    def _headers(self, subject: Subject) -> Iterator[tuple[int, bytes]]:
        """By group, the header that was interrupted, or one of a fresh attempt: all with the same number."""
        fresh = 0
        for group, members in self._groups():
            if group in self._done or group in self._lost:
                continue
            sessions = self.sessions.of_group(group)
            raw = sessions.interrupted(subject)
            if raw is None:
                fresh = fresh or self.store.open_attempt(self.number)
                try:
                    raw = self._propose(subject, group, members, sessions, fresh)
                except RunError as error:
                    self._lose(group, fresh, error)
                    continue
            yield group, raw

    def _groups(self) -> list[tuple[int, Sequence[str]]]:
        """Numbers and members; one of all sites where there are no groups."""
        present = self.fleet.sites
        if not self.strategy.groups:
            return [(0, present)]
        dealt = fixed_groups(self.plan.seed, self.sessions.members(present), self.strategy.groups)
        return [
            (number, [site for site in group if site in present]) for number, group in enumerate(dealt, 1)
        ]

    def _propose(
        self, subject: Subject, group: int, members: Sequence[str], sessions: Sessions, attempt: int
    ) -> bytes:
        """The header of a fresh attempt. Raises RunError where these sites cannot have a sum."""
        excluded = frozenset(self.standing.excluded)
        cohort = select_cohort(self.plan, members, subject.round, excluded, subject.work)
        layout, bounds, checkpoint = self._layout(cohort), plan_bounds(self.plan), self.checkpoint
        completed, transcript = checkpoint.completed, checkpoint.transcript
        if group:
            completed, transcript = checkpoint.completed_together(cohort)
        header = Header(
            plan_hash=self.plan_hash,
            run=subject.run,
            round=subject.round,
            attempt=attempt,
            work=subject.work,
            model_hash=subject.model_hash,
            cohort=cohort,
            quorum=quorum(self.plan, cohort),
            words=layout.words,
            levels=layout.levels,
            completed=completed,
            previous_transcript=transcript,
            clip=bounds.clip,
            range=bounds.range,
            noise=bounds.noise,
            lanes=layout.lanes_used,
            contributed=checkpoint.contributed(cohort),
        )
        return sessions.propose(header).serialise()

    def _close(self, attempt: Attempt, header: Header) -> None:
        """Keep the sum, or note why there is none and who is to blame."""
        self.standing.excluded |= attempt.restored | attempt.spoilers
        self.standing.spoilers |= attempt.spoilers
        failure = attempt.failure or self._too_few(attempt)
        if failure is None:
            self._done[attempt.group] = attempt
            return
        if attempt.spoiled:
            self._spoiled.add(attempt.group)
        if isinstance(failure, AttemptPending):
            self._lose(attempt.group, attempt.number, failure)
            return
        self.standing.excluded |= failure.culprits
        self._reason = _of_group(attempt.group, failure.message)
        self.tell(AttemptLost(self.number, attempt.number, self._reason))
        if attempt.out_of_budget and self._unaffordable(attempt, header):
            self._broke[attempt.group] = frozenset(attempt.out_of_budget)

    def _lose(self, group: int, attempt: int, error: RunError) -> None:
        """Go on without the group. Raises the error where there are no groups."""
        if not group:
            raise error
        self._lost[group] = error
        self._reason = _of_group(group, error.message)
        self.tell(AttemptLost(self.number, attempt, self._reason))

    def _too_few(self, attempt: Attempt) -> AttemptFailed | None:
        """Why the uploads are too few to be compared, if they are: each spoiler was an attacker, too."""
        if self.strategy.sees != "each" or self.work != Work.TRAIN:
            return None
        found, least = len(contributors_of(attempt)), self.strategy.least - 2 * len(self.standing.spoilers)
        if found >= least:
            return None
        return AttemptFailed(f"{found} sites contributed, {self.plan.strategy.name} needs {least}.")

    def _needed(self) -> int:
        """Sums with which the round counts: attackers must stay in the minority of those that compare."""
        groups = self.strategy.groups
        if not groups:
            return 1
        # Who spoiled a sum and then sent another is still among those that compare.
        attackers_out = len(self._spoiled - self._done.keys())
        least = self.strategy.least - 2 * attackers_out if self.work == Work.TRAIN else 1
        return max(quorum(self.plan, range(groups)), least)

    def _require_hope(self) -> None:
        """Raises what a group was lost to, if those that are left cannot be enough."""
        groups = self.strategy.groups
        if groups and groups - len(self._lost) < self._needed():
            # What is pending can be had later, so it is what is told.
            raise min(self._lost.values(), key=lambda error: not isinstance(error, AttemptPending))

    def _unaffordable(self, attempt: Attempt, header: Header) -> bool:
        """Whether the sites that can still pay are too few, however often they are asked."""
        able = len(header.cohort) - len(attempt.out_of_budget)
        least = header.quorum
        if header.secure:
            least = max(least, floor(able, header.colluders, header.n_min))
        return able < least

    def _require_budget(self) -> None:
        """Raises BudgetError if so many groups cannot pay that the others are not enough."""
        count = self.strategy.groups or 1
        if self._broke and count - len(self._broke.keys() | self._lost.keys()) < self._needed():
            self.tell(BudgetSpent(self.number, tuple(sorted(frozenset().union(*self._broke.values())))))
            raise BudgetError(f"the sites' privacy budgets do not pay for round {self.number}.")

    def _gathered(self) -> Gathered:
        attempts = tuple(self._done[group] for group in sorted(self._done))
        cohort = tuple(sorted(site for cohort in self._cohorts.values() for site in cohort))
        return Gathered(attempts, cohort, _total([attempt.sums for attempt in attempts]))

    def _layout(self, cohort: Sequence[str]) -> Layout:
        return payload_layout(self.plan, self.strategy, self.task, self._context(cohort), self.work)

    def _context(self, cohort: Sequence[str]) -> Context:
        return round_context(self.plan, self.strategy, self.adapter, self.number, len(cohort), cohort)


def _of_group(group: int, message: str) -> str:
    return f"group {group}: {message}" if group else message


def _total(sums: Sequence[Sums]) -> Sums:
    """All of them added up, by segment."""
    if len(sums) == 1:
        return sums[0]
    return {name: np.sum([one[name] for one in sums], axis=0) for name in sums[0]}

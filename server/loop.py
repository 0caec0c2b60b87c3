"""The round loop: the same in a simulation and between partner sites; only the fleet differs."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sealora.models.adapter import Adapter, AdapterLayout, Tensors, pack
from sealora.models.task import LOSS_UNITS, Counts, Metrics
from sealora.plan import payload as names
from sealora.plan.payload import metric_sums, payload_layout, round_context, weight_units
from sealora.plan.settings import PlanSettings
from sealora.protocol.errors import AttemptFailed, BudgetError, RunError, UsageError
from sealora.protocol.fleet import Fleet
from sealora.protocol.messages import Header, Open, Work, model_hash
from sealora.protocol.session import Sum
from sealora.protocol.thresholds import floor
from sealora.server.attempt import Attempt
from sealora.server.cohort import quorum, select_cohort
from sealora.server.events import (
    AttemptLost,
    AttemptOpened,
    BudgetSpent,
    Evaluated,
    Event,
    Observer,
    RoundDone,
    RoundRecord,
    RunStarted,
)
from sealora.server.sessions import PlainSessions, Sessions, Subject
from sealora.server.store import Checkpoint, CheckpointStore
from sealora.strategies.strategy import FIGURE, Aggregate, Context, State, Strategy

Sums = Mapping[str, NDArray[np.float64]]


@dataclass
class Coordinator:
    """Runs a plan over a fleet. Everything that can change is in the checkpoint."""

    plan: PlanSettings
    plan_hash: bytes
    task: Metrics
    strategy: Strategy
    initial: Adapter
    fleet: Fleet
    store: CheckpointStore
    sessions: Sessions = field(default_factory=PlainSessions)
    observers: Sequence[Observer] = ()
    measure_public: Callable[[Tensors], Mapping[str, Counts]] | None = None
    """The sum vector of a model on a public table: the only metrics under a privacy guarantee."""
    _excluded: frozenset[str] = field(default=frozenset())

    def run(self) -> tuple[Adapter, Evaluated]:
        """All rounds that are left, then the final evaluation.

        A round that the sites' privacy budgets do not pay for ends the run, with the model before it.
        Raises UsageError if the checkpoint is of another plan or damaged, and RunError when a round
        cannot be completed, or not yet (AttemptPending): the checkpoint is kept and can be resumed.
        """
        checkpoint = self._restore()
        self._tell(RunStarted(self.plan.rounds.count, self.fleet.sites, checkpoint.history))
        for number in range(checkpoint.round + 1, self.plan.rounds.count + 1):
            try:
                checkpoint = self._round(checkpoint, number)
            except BudgetError:
                break
        evaluated = self._evaluate(checkpoint)
        self._tell(evaluated)
        return self.strategy.model(checkpoint.state, self._layout), evaluated

    def _round(self, checkpoint: Checkpoint, number: int) -> Checkpoint:
        attempt, total = self._attempt(checkpoint, number, Work.TRAIN)
        started = time.perf_counter()
        aggregate = self._aggregate(attempt.sums, total)
        context = self._context(number, attempt.cohort)
        state = self.strategy.step(checkpoint.state, context, aggregate)
        record = self._record(checkpoint, attempt, total, time.perf_counter() - started)
        record = replace(record, figures=_figures(state))
        checkpoint = replace(checkpoint, state=state, history=(*checkpoint.history, record))
        self.store.save(checkpoint)
        self._tell(RoundDone(record))
        return checkpoint

    def _attempt(self, checkpoint: Checkpoint, number: int, work: Work) -> tuple[Attempt, Sum]:
        """Ask cohorts until one of them yields a sum."""
        context = self._context(number, self.fleet.sites)
        trains = context.layout.trained
        sent = (spec.name for spec in self.strategy.broadcast(context))
        tensors = pack({name: checkpoint.state[name] for name in sent})
        subject = Subject(checkpoint.run, number, work, model_hash(tensors, trains))
        for _ in range(self.plan.rounds.attempts):
            raw = self.sessions.interrupted(subject) or self._propose(checkpoint, subject)
            header = Header.parse(raw)
            count, cohort = header.attempt, header.cohort
            layout = payload_layout(self.plan, self.strategy, self.task, self._context(number, cohort), work)
            opening = Open(raw, tensors, trains, self.sessions.sign(raw))
            self._tell(AttemptOpened(number, count, cohort))
            rounds = self.plan.rounds
            attempt = Attempt(
                number, count, cohort, layout, self.fleet, rounds.deadline, self._tell, rounds.attempts
            )
            try:
                return attempt, attempt.run(self.sessions.open(raw), opening)
            except AttemptFailed as failure:
                self._excluded |= failure.culprits
                self._tell(AttemptLost(number, count, failure.message))
                self._require_budget(attempt, header)
            finally:
                self._excluded |= attempt.restored
        raise RunError(
            f"round {number} found no quorum in {self.plan.rounds.attempts} attempts.",
            "The rounds before are kept: mend the sites and resume.",
        )

    def _propose(self, checkpoint: Checkpoint, subject: Subject) -> bytes:
        """The header of a fresh attempt."""
        count = self.store.open_attempt(subject.round)
        cohort = select_cohort(self.plan, self.fleet.sites, subject.round, self._excluded, subject.work)
        context = self._context(subject.round, cohort)
        layout = payload_layout(self.plan, self.strategy, self.task, context, subject.work)
        header = Header(
            plan_hash=self.plan_hash,
            run=subject.run,
            round=subject.round,
            attempt=count,
            work=subject.work,
            model_hash=subject.model_hash,
            cohort=cohort,
            quorum=quorum(self.plan, cohort),
            words=layout.words,
            levels=layout.levels,
            completed=checkpoint.completed,
            previous_transcript=checkpoint.transcript,
            clip=self.plan.codec.clip,
            range=self.plan.codec.range,
            lanes=layout.lanes_used,
            contributed=checkpoint.contributed(cohort),
        )
        return self.sessions.propose(header).serialise()

    def _aggregate(self, sums: Sums, total: Sum) -> Aggregate:
        updates = {
            name.removeprefix(names.UPDATE): sums[name] for name in sums if name.startswith(names.UPDATE)
        }
        weight = float(sums[names.WEIGHT][0]) / weight_units(self.plan)
        return Aggregate(updates, weight, len(total.contributors), len(self.fleet.sites))

    def _require_budget(self, attempt: Attempt, header: Header) -> None:
        """Raises BudgetError if the sites that can still pay are too few, however often they are asked."""
        able = len(header.cohort) - len(attempt.out_of_budget)
        least = header.quorum
        if header.secure:
            least = max(least, floor(able, header.colluders, header.n_min))
        if attempt.out_of_budget and able < least:
            self._tell(BudgetSpent(attempt.round, tuple(sorted(attempt.out_of_budget))))
            raise BudgetError(f"the sites' privacy budgets do not pay for round {attempt.round}.")

    def _record(
        self, checkpoint: Checkpoint, attempt: Attempt, total: Sum, step_seconds: float
    ) -> RoundRecord:
        private, sums = self.plan.privacy.private, attempt.sums
        return RoundRecord(
            round=attempt.round,
            attempt=attempt.number,
            cohort=attempt.cohort,
            contributors=total.contributors,
            train_loss=float("nan") if private else _train_loss(sums),
            clipped=None if private else int(sums[names.CLIPPED][0]),
            metrics=self.task.metrics(
                self._metric_sums(sums, total) if self._measured else self._public_sums(checkpoint)
            ),
            bytes_down=attempt.bytes_down,
            bytes_up=attempt.bytes_up,
            seconds={**attempt.seconds, "step": step_seconds},
            guarantee=self.sessions.guarantee,
            transcript=attempt.transcript,
            noised=private and self._measured,
        )

    @property
    def _measured(self) -> bool:
        """Whether the sites measure the model, exactly or with noise."""
        return not self.plan.privacy.private or self.plan.privacy.metrics == "noised"

    def _evaluate(self, checkpoint: Checkpoint) -> Evaluated:
        """The final model's metrics. Noised ones are released once: a restart finds them in the store."""
        if not self._measured:
            sums = self._public_sums(checkpoint)
            tables = self.task.tables(sums) if self.measure_public is not None else {}
            return Evaluated(self.task.metrics(sums), tables, ())
        kept = self.store.evaluation(checkpoint.round) if self.plan.privacy.private else None
        if kept is not None:
            return kept
        try:
            attempt, total = self._attempt(checkpoint, self.plan.rounds.count + 1, Work.EVALUATE)
        except BudgetError:
            return Evaluated(self.task.metrics(self._public_sums(checkpoint)), {}, ())
        sums = self._metric_sums(attempt.sums, total)
        evaluated = Evaluated(self.task.metrics(sums), self.task.tables(sums), total.contributors)
        if self.plan.privacy.private:
            self.store.save_evaluation(checkpoint.round, evaluated)
        return evaluated

    def _metric_sums(self, sums: Sums, total: Sum) -> Sums:
        return metric_sums(self.plan, self.task, sums, len(total.contributors))

    def _public_sums(self, checkpoint: Checkpoint) -> Sums:
        """The model's sum vector on the public table; zeros, whose metrics are NaN, if there is none."""
        if self.measure_public is None:
            return {part.name: np.zeros(part.length) for part in self.task.sums()}
        tensors = self.strategy.model(checkpoint.state, self._layout).tensors
        return {name: counts.astype(np.float64) for name, counts in self.measure_public(tensors).items()}

    def _restore(self) -> Checkpoint:
        checkpoint = self.store.load()
        if checkpoint is None:
            checkpoint = Checkpoint(os.urandom(16), self.plan_hash, self._first_state())
            self.store.save(checkpoint)
        if checkpoint.plan_hash != self.plan_hash:
            raise UsageError("the run in this folder is of another plan.", "Use its plan, or a new folder.")
        return checkpoint

    def _first_state(self) -> State:
        layout = self.strategy.layout(self._layout, 1).only(self.initial.tensors)
        return self.strategy.init(Adapter(layout, self.initial.tensors))

    def _context(self, number: int, cohort: Sequence[str]) -> Context:
        return round_context(self.plan, self.strategy, self._layout, number, len(cohort), cohort)

    @property
    def _layout(self) -> AdapterLayout:
        return self.initial.layout

    def _tell(self, event: Event) -> None:
        for observer in self.observers:
            observer.notify(event)


def _figures(state: State) -> dict[str, float]:
    """What the strategy's state tells people."""
    return {
        name.removeprefix(FIGURE): float(value[0]) for name, value in state.items() if name.startswith(FIGURE)
    }


def _train_loss(sums: Sums) -> float:
    """Mean loss over the rows trained on; NaN if there were none."""
    rows = float(sums[names.TRAIN_ROWS][0])
    return float(sums[names.TRAIN_LOSS][0]) / LOSS_UNITS / rows if rows else float("nan")

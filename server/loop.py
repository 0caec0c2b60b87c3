"""The round loop: the same in a simulation and between partner sites; only the fleet differs."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sealora.models.adapter import Adapter, AdapterLayout, Tensors
from sealora.models.task import LOSS_UNITS, Counts, Metrics
from sealora.plan import payload as names
from sealora.plan.coding import Coding, codings
from sealora.plan.payload import metric_sums, round_context, weight_units
from sealora.plan.settings import PlanSettings
from sealora.protocol.errors import BudgetError, UsageError
from sealora.protocol.fleet import Fleet
from sealora.protocol.messages import Work
from sealora.server.events import BudgetSpent, Evaluated, Event, Observer, RoundDone, RoundRecord, RunStarted
from sealora.server.gathering import Gathered, Gathering, Standing, Sums
from sealora.server.sessions import PlainSessions, Sessions
from sealora.server.store import Checkpoint, CheckpointStore
from sealora.strategies.strategy import FIGURE, Aggregate, Context, State, Strategy


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
    _standing: Standing = field(default_factory=Standing)

    def run(self) -> tuple[Adapter, Evaluated]:
        """All rounds that are left, then the final evaluation.

        A round that the sites' privacy budgets do not pay for ends the run, with the model before it.
        Raises UsageError if the checkpoint is of another plan or damaged, and RunError when a round
        cannot be completed, or not yet (AttemptPending): the checkpoint is kept and can be resumed.
        """
        checkpoint = self._restore()
        self._tell(RunStarted(self.plan.rounds.count, self.fleet.sites, checkpoint.history))
        for number in range(checkpoint.round + 1, self.plan.rounds.count + 1):
            if self._kept(checkpoint) is not None:
                # The run had ended for want of budget, and sites do not train on a model that they evaluated.
                self._tell(BudgetSpent(number, ()))
                break
            try:
                checkpoint = self._round(checkpoint, number)
            except BudgetError:
                break
        evaluated = self._evaluate(checkpoint)
        self._tell(evaluated)
        return self.strategy.model(checkpoint.state, self._layout), evaluated

    def _round(self, checkpoint: Checkpoint, number: int) -> Checkpoint:
        gathered = self._gather(checkpoint, number, Work.TRAIN)
        started = time.perf_counter()
        context = self._context(number, gathered.cohort)
        aggregate = self._aggregate(gathered, context)
        state = self.strategy.step(checkpoint.state, context, aggregate)
        record = self._record(checkpoint, number, gathered, time.perf_counter() - started)
        record = replace(record, figures=_figures(state))
        checkpoint = replace(checkpoint, state=state, history=(*checkpoint.history, record))
        self.store.save(checkpoint)
        self._tell(RoundDone(record))
        return checkpoint

    def _gather(self, checkpoint: Checkpoint, number: int, work: Work) -> Gathered:
        """The round's sums."""
        return Gathering(
            plan=self.plan,
            plan_hash=self.plan_hash,
            task=self.task,
            strategy=self.strategy,
            adapter=self._layout,
            fleet=self.fleet,
            store=self.store,
            sessions=self.sessions,
            standing=self._standing,
            tell=self._tell,
            checkpoint=checkpoint,
            number=number,
            work=work,
        ).run()

    def _aggregate(self, gathered: Gathered, context: Context) -> Aggregate:
        maps = codings(self.plan, self.strategy.parts(context), context)
        apart = tuple(self._one(sums, contributors, maps) for sums, contributors in gathered.apart)
        return replace(self._one(gathered.sums, len(gathered.contributors), maps), apart=apart)

    def _one(self, sums: Sums, contributors: int, maps: Mapping[str, Coding]) -> Aggregate:
        updates = {name: coding.inverse(sums[names.UPDATE + name]) for name, coding in maps.items()}
        weight = float(sums[names.WEIGHT][0]) / weight_units(self.plan)
        return Aggregate(updates, weight, contributors, len(self.fleet.sites))

    def _record(
        self, checkpoint: Checkpoint, number: int, gathered: Gathered, step_seconds: float
    ) -> RoundRecord:
        private, sums = self.plan.privacy.private, gathered.sums
        return RoundRecord(
            round=number,
            attempt=gathered.number,
            cohort=gathered.cohort,
            contributors=gathered.contributors,
            train_loss=float("nan") if private else _train_loss(sums),
            clipped=None if private else int(sums[names.CLIPPED][0]),
            diverged=0 if private else round(float(sums[names.TRAIN_LOSS][0]) / names.MAX_TRAIN_LOSS),
            metrics=self.task.metrics(
                self._metric_sums(gathered) if self._measured else self._public_sums(checkpoint)
            ),
            bytes_down=sum(attempt.bytes_down for attempt in gathered.attempts),
            bytes_up=sum(attempt.bytes_up for attempt in gathered.attempts),
            seconds={**gathered.seconds, "step": step_seconds},
            guarantee=self.sessions.guarantee,
            transcript="" if gathered.groups else gathered.attempts[0].transcript,
            noised=private and self._measured,
            groups=gathered.groups,
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
        kept = self._kept(checkpoint)
        if kept is not None:
            return kept
        try:
            gathered = self._gather(checkpoint, self.plan.rounds.count + 1, Work.EVALUATE)
        except BudgetError:
            return Evaluated(self.task.metrics(self._public_sums(checkpoint)), {}, ())
        sums = self._metric_sums(gathered)
        evaluated = Evaluated(self.task.metrics(sums), self.task.tables(sums), gathered.contributors)
        if self.plan.privacy.private:
            self.store.save_evaluation(checkpoint.round, evaluated)
        return evaluated

    def _kept(self, checkpoint: Checkpoint) -> Evaluated | None:
        """The noised metrics of the checkpoint's model, if they were released before."""
        return self.store.evaluation(checkpoint.round) if self.plan.privacy.private else None

    def _metric_sums(self, gathered: Gathered) -> Sums:
        return metric_sums(self.plan, self.task, gathered.sums, len(gathered.contributors))

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

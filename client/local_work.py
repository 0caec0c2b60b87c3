"""What an attempt asks of a site's rows: measure a model, train it, encode the result.

It holds no key, no ledger and no state of its own, and its result is the same wherever it runs: a
simulation may therefore do it in any process, while everything that must be remembered stays with `Site`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora.client.contract import Contract
from sealora.client.contribution import (
    LocalUpdate,
    Vectors,
    clip,
    contribution,
    counted_rows,
    metric_segments,
    rounding_key,
)
from sealora.client.noised_metrics import noised_sums
from sealora.client.trainer import Trainer
from sealora.client.units import units_of
from sealora.models.adapter import Tensors
from sealora.models.task import LOSS_UNITS, Counts
from sealora.plan.coding import codings
from sealora.plan.payload import MAX_TRAIN_LOSS, payload_layout, relative_weight, round_context
from sealora.privacy.noise import GaussianNoise
from sealora.protocol.codec import Layout, Words
from sealora.protocol.errors import ProtocolError, RunError
from sealora.protocol.keystream import Keystream, derive_key
from sealora.protocol.messages import Header, Work
from sealora.strategies.strategy import Context, Memory, Part, Payload, Start, Trained

if TYPE_CHECKING:  # they load scipy and data frames, which take seconds
    from sealora.models.site_data import Rows
    from sealora.privacy.schedule import Schedule


Encoder = Callable[[LocalUpdate], Words]
"""How an update becomes words: `contribution`, unless the site is malicious."""


@dataclass(frozen=True)
class Assignment:
    """An attempt that the site has entered: its header, the tensors received, the site's memory."""

    header: Header
    received: Tensors = field(repr=False)
    memory: Memory = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What the site takes into the session, and what it keeps."""

    words: Words = field(repr=False)
    """Encoded, not yet masked; uint64, shape (header.words,)."""
    kept: Memory | None = field(repr=False)
    """The memory to prepare; None after an evaluation, which changes none."""
    metrics: Mapping[str, Counts]
    """The sum vector of the model received on the site's own test rows; empty under a guarantee."""
    diverged: bool = False
    """Whether training came to nothing finite, so that no change is sent. Never told under a guarantee."""


@dataclass(frozen=True)
class Change:
    """What a training changed: the upload as it is rounded, how much is scaled down, and the memory of it."""

    coded: Vectors = field(repr=False)
    factors: Mapping[str, float]
    kept: Memory = field(repr=False)


class Worker(Protocol):
    """Does a site's work, here or elsewhere."""

    def work(self, assignment: Assignment) -> Outcome:
        """Raises SealoraError where it cannot be done."""


@dataclass(frozen=True)
class LocalWork:
    """Implements Worker in this process. `schedule` is that of the privacy guarantee, if there is one."""

    site: str
    contract: Contract
    trainer: Trainer
    first: Tensors = field(repr=False)
    data: "Rows"
    schedule: "Schedule | None" = None
    encode: Encoder = contribution

    def work(self, assignment: Assignment) -> Outcome:
        """See Worker."""
        return self.finish(assignment, self.start(assignment))

    def start(self, assignment: Assignment) -> Start:
        """Where the site would start. Raises what makes the work impossible, before it is paid for."""
        header = assignment.header
        layout = self._layout(header)
        planned = (layout.words, layout.levels, layout.lanes_used)
        if (header.words, header.levels, header.lanes) != planned:
            raise ProtocolError("wrong_dimension", "the header's dimensions are not the plan's")
        context = self._context(header)
        start = self.contract.strategy.local(assignment.received, self.first, assignment.memory, context)
        context.own.check(start.tensors)
        return start

    def finish(self, assignment: Assignment, start: Start) -> Outcome:
        """The work from where `start` says."""
        if assignment.header.work == Work.TRAIN:
            return self._train(assignment, start)
        metrics = self._measure(start.tensors)
        sums: dict[str, NDArray[np.generic]] = metric_segments(metrics)
        words = self._layout(assignment.header).encode(sums, self._rounding(assignment.header))
        return Outcome(words, None, self._own(metrics))

    def _train(self, assignment: Assignment, start: Start) -> Outcome:
        header, contract, context = assignment.header, self.contract, self._context(assignment.header)
        metrics = self._measure(start.tensors)
        seed = derive_key("sealora/v1/training", contract.plan.seed, self.site, header.round)
        trained = self.trainer.train(start, context.layout.trained, self.data.train, header.round, seed)
        parts = contract.strategy.parts(context)
        rows = counted_rows(contract.plan, [example.target for example in self.data.train])
        change = self._change(assignment, trained, parts, rows)
        diverged = change is None
        if change is None:
            change, trained = _no_change(parts, assignment.memory), replace(trained, loss=math.inf)
        update = LocalUpdate(
            contract.plan,
            self._layout(header),
            parts,
            change.coded,
            change.factors,
            trained,
            rows,
            metrics,
            self._rounding(header),
        )
        return Outcome(self.encode(update), change.kept, self._own(metrics), diverged)

    def _change(
        self, assignment: Assignment, trained: Trained, parts: tuple[Part, ...], rows: int
    ) -> Change | None:
        """What training changed; None if that is not finite, where rows are not protected otherwise.

        Rows can decide whether it is, as a model can be made that overflows on some. So that is no refusal,
        which would be an answer about the rows of one site.
        """
        plan, strategy, context = self.contract.plan, self.contract.strategy, self._context(assignment.header)
        received, memory, private = assignment.received, assignment.memory, plan.privacy.private
        # A loss at the cap, be it a number or not, is what the coordinator counts as diverged.
        told = trained.loss * LOSS_UNITS < MAX_TRAIN_LOSS
        if not (private or (told and _finite(trained.tensors))):
            return None
        upload = strategy.upload(received, trained, memory, context)
        _require_parts(parts, upload)
        if not (private or _finite(upload)):
            return None
        maps = codings(plan, parts, context)
        coded = {name: maps[name].forward(vector) for name, vector in upload.items()}
        factors = clip(plan, parts, upload, coded, relative_weight(plan, rows))
        kept = strategy.remember(upload, factors, trained, memory, context)
        return Change(coded, factors, kept) if private or _finite(kept) else None

    def _context(self, header: Header) -> Context:
        contract = self.contract
        return round_context(
            contract.plan,
            contract.strategy,
            self.trainer.layout,
            header.round,
            len(header.cohort),
            header.cohort,
            self.site,
        )

    def _layout(self, header: Header) -> Layout:
        contract = self.contract
        return payload_layout(
            contract.plan, contract.strategy, contract.task, self._context(header), header.work
        )

    def _rounding(self, header: Header) -> Keystream:
        return rounding_key(self.contract.plan.seed, self.site, header.round)

    def _measure(self, tensors: Tensors) -> Mapping[str, Counts]:
        """The sum vector to be sent: exact, or noised and of the training rows, or none."""
        if self.schedule is None:
            return self.trainer.evaluate(tensors, self.data.test)
        release, rows = self.schedule.metrics, self.data.train
        if release is None:
            return {}
        units = units_of(rows, self.schedule.unit)
        contributions = self.trainer.rows(tensors, rows)
        parts = self.contract.task.sums()
        return noised_sums(contributions, units, parts, release.noise_multiplier, GaussianNoise())

    def _own(self, metrics: Mapping[str, Counts]) -> Mapping[str, Counts]:
        return metrics if self.schedule is None else {}


def _finite(vectors: Mapping[str, NDArray[np.floating]]) -> bool:
    return all(np.isfinite(vector).all() for vector in vectors.values())


def _no_change(parts: tuple[Part, ...], memory: Memory) -> Change:
    """Zeros, counted as scaled down."""
    zeros = {part.name: np.zeros(part.length, np.float32) for part in parts}
    return Change(zeros, dict.fromkeys(zeros, 0.0), memory)


def _require_parts(parts: tuple[Part, ...], upload: Payload) -> None:
    """A strategy that does not keep its word is a bug of the package it comes from."""
    if {part.name: (part.length,) for part in parts} != {name: v.shape for name, v in upload.items()}:
        raise RunError("the strategy's upload is not what it declares.", "Report this to its authors.")

"""A site: answers a coordinator's requests with its own data, model and memory."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora.client.contribution import (
    Vectors,
    clip,
    contribution,
    counted_rows,
    metric_segments,
    rounding_key,
)
from sealora.client.memory import SiteMemory
from sealora.client.noised_metrics import noised_sums
from sealora.client.trainer import Trainer
from sealora.client.units import units_of
from sealora.models.adapter import Tensors, check, unpack
from sealora.models.task import Counts, Metrics
from sealora.plan.coding import codings
from sealora.plan.payload import payload_layout, relative_weight, round_context
from sealora.plan.settings import PlanSettings
from sealora.privacy.noise import GaussianNoise
from sealora.protocol import messages
from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Layout, Words
from sealora.protocol.errors import (
    BudgetError,
    DataError,
    ProtocolError,
    RefusedError,
    RunError,
    SealoraError,
)
from sealora.protocol.groups import check_group
from sealora.protocol.keystream import Keystream, derive_key
from sealora.protocol.messages import Header, Open, Reason, Refusal, Work
from sealora.protocol.secure_site import Aborted
from sealora.protocol.session import SiteHalf
from sealora.strategies.strategy import Context, Part, Payload, Strategy, Trained

if TYPE_CHECKING:  # they load scipy and data frames, which take seconds
    from sealora.client.purse import Purse
    from sealora.models.site_data import SiteData

SessionFactory = Callable[[Open], SiteHalf]
"""Makes a site's half of an attempt, or raises ProtocolError where the site must not enter it."""


@dataclass(frozen=True)
class Contract:
    """What all parties of a run agree on."""

    plan: PlanSettings
    plan_hash: bytes
    task: Metrics
    strategy: Strategy


class Encoder(Protocol):
    """Turns a trained adapter's upload into words: `contribution`, unless the site is malicious."""

    def __call__(
        self,
        plan: PlanSettings,
        layout: Layout,
        parts: tuple[Part, ...],
        coded: Vectors,
        factors: Mapping[str, float],
        trained: Trained,
        counted_rows: int,
        metrics: Mapping[str, Counts],
        rounding: Keystream,
    ) -> Words:
        """See `contribution`."""


class Gatekeeper(Protocol):
    """A site's policy, as a round asks it."""

    def require(self, plan: PlanSettings, plan_hash: bytes, header: Header) -> None:
        """Raises RefusedError or BudgetError, whose message is sent, unless the round is allowed."""


@dataclass
class Site:
    """One data holder. `handle` is the whole of what a coordinator can make it do."""

    name: str
    contract: Contract
    trainer: Trainer
    first: Tensors = field(repr=False)
    """The adapter's first values, which every party draws from the plan's seed."""
    data: "SiteData"
    memory: SiteMemory
    new_session: SessionFactory
    purse: "Purse | None" = None
    """Pays for every training; None in a plan without a privacy guarantee."""
    encode: Encoder = contribution
    policy: Gatekeeper | None = None
    """Asked in every round, before anything is paid, measured or trained."""
    metrics: Mapping[str, Counts] = field(default_factory=dict)
    """The sum vector of the last model received on this site's own test rows: for its own report."""
    _session: SiteHalf | None = None
    _ledger: Head = NO_RECORDS
    _last: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.contract.plan.privacy.private and self.purse is None:
            raise RefusedError(f"{self.name} has no ledger to pay for its privacy from.")

    def handle(self, request: bytes) -> bytes:
        """Answer one request; whatever is wrong with it or here becomes a refusal without facts on data."""
        try:
            body = messages.parse_request(request)
            if isinstance(body, Open):
                return messages.reply(self._open(body))
            if self._session is None:
                raise ProtocolError("out_of_order", "no attempt is open")
            return messages.reply(self._session.receive(body))
        except Aborted as aborted:
            self._session = None
            return messages.reply(aborted.reply)
        except SealoraError as error:
            self._session = None
            return messages.reply(Refusal(_reason(error), _told(error)))

    def _open(self, opening: Open) -> bytes:
        """Check the header, do the work, and enter the session with the encoded result."""
        header = Header.parse(opening.header)
        self._check(header, opening)
        session = self.new_session(opening)
        self._check_group(header, session.members)
        self._last = (header.round, header.attempt)
        self.memory.commit(header.last_contribution(self.name), header.completed[0])
        context = self._context(header)
        received = unpack(opening.tensors)
        check(self.contract.strategy.broadcast(context), received)
        work = self._train if header.work == Work.TRAIN else self._evaluate
        words = work(header, received, context)
        self._session = session
        return session.start(words, self._ledger)

    def _context(self, header: Header) -> Context:
        contract = self.contract
        return round_context(
            contract.plan,
            contract.strategy,
            self.trainer.layout,
            header.round,
            len(header.cohort),
            header.cohort,
            self.name,
        )

    def _check(self, header: Header, opening: Open) -> None:
        if header.plan_hash != self.contract.plan_hash:
            raise ProtocolError("wrong_plan", "the header is of another plan than the one approved here")
        if self.name not in header.cohort:
            raise ProtocolError("not_in_cohort", "this site is not in the cohort")
        if (header.round, header.attempt) <= self._last:
            raise ProtocolError("replayed", "this round and attempt were already answered")
        if header.model_hash != messages.model_hash(opening.tensors, opening.trains):
            raise ProtocolError("wrong_model", "the model received is not the one that the header names")
        if opening.trains != self._context(header).layout.trained:
            raise ProtocolError(
                "malformed", "the header asks to train other tensors than the plan's strategy"
            )
        if self.policy is not None:
            self.policy.require(self.contract.plan, self.contract.plan_hash, header)

    def _check_group(self, header: Header, members: Collection[str]) -> None:
        """The cohort lies in this site's fixed group, if there are groups and a roster to know them by.

        Otherwise a coordinator could form groups as it likes and learn from the differences of their sums.
        """
        contract, count = self.contract, self.contract.strategy.groups
        if count and members:
            check_group(header.cohort, contract.plan.seed, members, count, self.name)

    def _train(self, header: Header, received: Tensors, context: Context) -> Words:
        contract, strategy = self.contract, self.contract.strategy
        layout = self._layout(header, context)
        memory = self.memory.read()
        start = strategy.local(received, self.first, memory, context)
        context.own.check(start.tensors)
        if self.purse is not None:
            self._ledger = self.purse.pay(header)
        metrics = self._measure(start.tensors)
        seed = derive_key("sealora/v1/training", contract.plan.seed, self.name, header.round)
        trained = self.trainer.train(start, context.layout.trained, self.data.train, header.round, seed)
        upload = strategy.upload(received, trained, memory, context)
        parts = strategy.parts(context)
        _require_parts(parts, upload)
        rows = counted_rows(contract.plan, [example.target for example in self.data.train])
        maps = codings(contract.plan, parts, context)
        coded = {name: maps[name].forward(vector) for name, vector in upload.items()}
        factors = clip(contract.plan, parts, upload, coded, relative_weight(contract.plan, rows))
        kept = strategy.remember(upload, factors, trained, memory, context)
        self.memory.prepare(header.round, header.attempt, kept)
        rounding = rounding_key(contract.plan.seed, self.name, header.round)
        return self.encode(contract.plan, layout, parts, coded, factors, trained, rows, metrics, rounding)

    def _evaluate(self, header: Header, received: Tensors, context: Context) -> Words:
        contract = self.contract
        if self.purse is not None:
            self.purse.price(header.work)
        layout = self._layout(header, context)
        start = contract.strategy.local(received, self.first, self.memory.read(), context)
        context.own.check(start.tensors)
        if self.purse is not None:
            self._ledger = self.purse.pay(header)
        sums: dict[str, NDArray[np.generic]] = metric_segments(self._measure(start.tensors))
        return layout.encode(sums, rounding_key(contract.plan.seed, self.name, header.round))

    def _layout(self, header: Header, context: Context) -> Layout:
        """The payload's layout. Raises ProtocolError unless it is the header's."""
        contract = self.contract
        layout = payload_layout(contract.plan, contract.strategy, contract.task, context, header.work)
        if (header.words, header.levels) != (layout.words, layout.levels):
            raise ProtocolError("wrong_dimension", "the header's dimensions are not the plan's")
        return layout

    def _measure(self, tensors: Tensors) -> Mapping[str, Counts]:
        """The sum vector to be sent: exact, or noised and of the training rows, or none."""
        if self.purse is None:
            self.metrics = self.trainer.evaluate(tensors, self.data.test)
            return self.metrics
        release, rows = self.purse.schedule.metrics, self.data.train
        if release is None:
            return {}
        units = units_of(rows, self.purse.schedule.unit)
        contributions = self.trainer.rows(tensors, rows)
        parts = self.contract.task.sums()
        return noised_sums(contributions, units, parts, release.noise_multiplier, GaussianNoise())


def _require_parts(parts: tuple[Part, ...], upload: Payload) -> None:
    """A strategy that does not keep its word is a bug of the package it comes from."""
    if {part.name: (part.length,) for part in parts} != {name: v.shape for name, v in upload.items()}:
        raise RunError("the strategy's upload is not what it declares.", "Report this to its authors.")


def _reason(error: SealoraError) -> Reason:
    if isinstance(error, ProtocolError):
        return Reason.PROTOCOL
    if isinstance(error, BudgetError):
        return Reason.BUDGET
    return Reason.POLICY if isinstance(error, RefusedError) else Reason.FAILED


def _told(error: SealoraError) -> str:
    """What the coordinator learns of an error: what was spent, and what is wrong with data, stays here."""
    if isinstance(error, BudgetError):
        return "this site's privacy budget does not pay for it"
    return "this site's data or records cannot be used" if isinstance(error, DataError) else error.message

"""A site: answers a coordinator's requests with its own data, model and memory."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sealora.client.contract import Contract
from sealora.client.contribution import contribution
from sealora.client.local_work import Assignment, Encoder, LocalWork, Worker
from sealora.client.memory import SiteMemory
from sealora.client.trainer import Trainer
from sealora.models.adapter import Tensors, check, check_values, unpack
from sealora.models.task import Counts
from sealora.plan.payload import round_context
from sealora.plan.settings import PlanSettings
from sealora.protocol import messages
from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Words
from sealora.protocol.errors import (
    BudgetError,
    DataError,
    ProtocolError,
    RefusedError,
    RunError,
    SealoraError,
)
from sealora.protocol.groups import check_group
from sealora.protocol.messages import Header, Open, Reason, Refusal
from sealora.protocol.secure_site import Aborted
from sealora.protocol.session import SiteHalf
from sealora.strategies.strategy import Context

if TYPE_CHECKING:  # they load scipy and data frames, which take seconds
    from sealora.client.purse import Purse
    from sealora.models.site_data import Rows

logger = logging.getLogger(__name__)
NOT_PAID = "this site's ledger cannot pay for it"
REMEDY = "If that goes on, ask for a plan with a lower training.learning_rate."

SessionFactory = Callable[[Open], SiteHalf]
"""Makes a site's half of an attempt, or raises ProtocolError where the site must not enter it."""


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
    data: "Rows"
    memory: SiteMemory
    new_session: SessionFactory
    purse: "Purse | None" = None
    """Pays for every training; None in a plan without a privacy guarantee."""
    encode: Encoder = contribution
    worker: Worker | None = None
    """Does the work elsewhere: in a simulation, where all machines are trusted; None does it here."""
    policy: Gatekeeper | None = None
    """Asked in every round, before anything is paid, measured or trained."""
    warn: Callable[[str], None] = logger.warning
    """Tells the operator of this site, and nobody else. A simulation tells of all sites at once instead."""
    metrics: Mapping[str, Counts] = field(default_factory=dict)
    """The sum vector of the last model received on this site's own test rows: for its own report."""
    _session: SiteHalf | None = None
    _ledger: Head = NO_RECORDS
    _last: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """The last (round, attempt) of each run."""

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
        self._last[header.run] = (header.round, header.attempt)
        self.memory.of_run(header.run).commit(header.last_contribution(self.name), header.completed[0])
        context = self._context(header)
        received = unpack(opening.tensors)
        check(self.contract.strategy.broadcast(context), received)
        check_values(received)
        words = self._work(header, received)
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
        if (header.round, header.attempt) <= self._last.get(header.run, (0, 0)):
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

    def _work(self, header: Header, received: Tensors) -> Words:
        """Find out what makes the work impossible, pay for it, and only then have it done."""
        if self.purse is not None:
            self.purse.price(header.work)
        memory = self.memory.of_run(header.run)
        assignment = Assignment(header, received, memory.read())
        here = self._local_work()
        start = here.start(assignment)
        if self.purse is not None:
            self._ledger = _paid(self.purse, header)
        outcome = self.worker.work(assignment) if self.worker else here.finish(assignment, start)
        if self.purse is None:
            self.metrics = outcome.metrics
        if outcome.diverged:
            self.warn(f"training diverged in round {header.round}: no change is sent. {REMEDY}")
        if outcome.kept is not None:
            memory.prepare(header.round, header.attempt, outcome.kept)
        return outcome.words

    def _local_work(self) -> LocalWork:
        schedule = self.purse.schedule if self.purse is not None else None
        return LocalWork(self.name, self.contract, self.trainer, self.first, self.data, schedule, self.encode)


def _paid(purse: "Purse", header: Header) -> Head:
    """Pay, or say no more than that it cannot be done: errors name files and data of this site."""
    try:
        return purse.pay(header)
    except (BudgetError, ProtocolError):
        raise
    except SealoraError as error:
        logger.error("the ledger does not pay for round %d: %s", header.round, error)
        kind = RefusedError if isinstance(error, RefusedError) else RunError
        raise kind(NOT_PAID) from None


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

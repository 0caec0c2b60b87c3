"""What a site may spend: every release is charged to its ledger before the work that it pays for."""

from dataclasses import dataclass, field
from pathlib import Path

from sealora.privacy.binding import require_same_data
from sealora.privacy.events import Budget, Event
from sealora.privacy.ledger import ChargeKey, Ledger
from sealora.privacy.schedule import Schedule
from sealora.protocol.attempts import Head
from sealora.protocol.errors import BudgetError, ProtocolError, RefusedError
from sealora.protocol.messages import Header, Work


@dataclass(frozen=True)
class Purse:
    """One site's ledger and what a round costs. The site refuses by itself, whoever asks."""

    path: Path
    data_set: str
    schedule: Schedule
    budget: Budget
    """The site's own, for everything that is ever charged to its ledger, in this run and in others."""
    data: bytes = field(repr=False)
    """A digest of the site's data, which the ledger then stands for; only a keyed one is written."""

    def check(self) -> None:
        """Find out at the start what `pay` would refuse for good; a ledger that is not there yet is fine.

        Raises RefusedError if the ledger is another's, in use or of other data, DataError if it is damaged.
        """
        if self.path.exists():
            with self._open():
                pass

    def pay(self, header: Header) -> Head:
        """Charge this attempt of this round; on disk before this returns the ledger's head.

        Raises BudgetError if the site's budget or the plan's does not allow it, ProtocolError if it was
        charged before: one charge pays for one release, and nobody can tell whether it was made.
        """
        key = ChargeKey(header.run.hex(), header.round, header.attempt)
        event = self.price(header.work)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as ledger:
            if any(charge.key == key for charge in ledger.charges):
                raise ProtocolError("replayed", "this round and attempt were already paid for")
            self._require_within_plan(ledger, key, event)
            ledger.charge(key, event, self.budget)
            return ledger.counted_head

    def _open(self) -> Ledger:
        ledger = Ledger(self.path, self.data_set, self.schedule.unit, self.schedule.accountant)
        try:
            require_same_data(self.path, self.data)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def price(self, work: Work) -> Event:
        """What an attempt releases. Raises RefusedError for metrics that the plan does not release."""
        if work == Work.TRAIN:
            return self.schedule.round_event
        if self.schedule.metrics is None:
            raise RefusedError("metrics on private rows are not released.")
        return self.schedule.metrics

    def _require_within_plan(self, ledger: Ledger, key: ChargeKey, event: Event) -> None:
        """The plan's budget is for this run alone; it matters where the site's own is larger."""
        planned = self.schedule.budget
        if self.budget.epsilon <= planned.epsilon and self.budget.delta == planned.delta:
            return
        own = [charge.event for charge in ledger.charges if charge.key.run == key.run]
        epsilon = self.schedule.accountant.epsilon([*own, event], planned.delta)
        # Written so that a NaN is refused.
        if not epsilon <= planned.epsilon:
            raise BudgetError(
                f"this release would bring the run to ε = {epsilon:.4g} at δ = {planned.delta:g}, above the "
                f"plan's budget of {planned.epsilon:g}.",
                "What is spent does not come back.",
            )

"""What a site may spend: every release is charged to its ledger before the work that it pays for."""

from dataclasses import dataclass
from pathlib import Path

from sealora.privacy.ledger import ChargeKey, Ledger
from sealora.privacy.schedule import Schedule
from sealora.protocol.attempts import Head
from sealora.protocol.errors import ProtocolError
from sealora.protocol.messages import Header


@dataclass(frozen=True)
class Purse:
    """One site's ledger and what a round costs. The site refuses by itself, whoever asks."""

    path: Path
    data_set: str
    schedule: Schedule

    def pay(self, header: Header) -> Head:
        """Charge this attempt of this round; on disk before this returns the ledger's head.

        Raises BudgetError if the budget does not allow it, ProtocolError if it was charged before: one
        charge pays for one release, and nobody can tell whether it was made.
        """
        key = ChargeKey(header.run.hex(), header.round, header.attempt)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with Ledger(self.path, self.data_set, "record", self.schedule.accountant) as ledger:
            if any(charge.key == key for charge in ledger.charges):
                raise ProtocolError("replayed", "this round and attempt were already paid for")
            ledger.charge(key, self.schedule.round_event, self.schedule.budget)
            return ledger.counted_head

"""A site's policy as it stands on disk: read anew for every round, so that a change counts at once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealora.client.approval import approved
from sealora.client.policy import Case, Policy
from sealora.client.site_config import load
from sealora.client.site_folder import SiteFolder
from sealora.client.site_settings import SiteSettings
from sealora.plan.settings import PlanSettings
from sealora.privacy.events import Event
from sealora.privacy.ledger import read_charges
from sealora.protocol.errors import RefusedError, SealoraError
from sealora.protocol.messages import Header, Work

logger = logging.getLogger(__name__)


def local_time() -> datetime:
    """Now, by this machine's clock and zone."""
    return datetime.now().astimezone()


@dataclass(frozen=True)
class PolicyBook:
    """Implements `site.Gatekeeper` from the files of a site's folder."""

    folder: SiteFolder
    clock: Callable[[], datetime] = local_time

    def policy(self) -> Policy:
        """Settings and approvals as they are now. Raises PlanError or DataError if one is not in order."""
        return Policy(load(self.folder.settings_path), approved(self.folder))

    def require(self, plan: PlanSettings, plan_hash: bytes, header: Header) -> None:
        """Raises RefusedError or BudgetError unless the policy allows this round; the text may be sent."""
        try:
            policy = self.policy()
        except SealoraError as error:
            # What is wrong names files and columns of this site, so it stays here.
            logger.error("the policy cannot be read: %s", error)
            raise RefusedError("this site's policy cannot be read.") from None
        path = self.ledger_path(policy.settings)
        asked = (1, 0) if header.work == Work.TRAIN else (0, 1)

        def spent(delta: float) -> float:
            try:
                return epsilon_after(path, plan, *asked, delta)
            except SealoraError as error:
                logger.error("the ledger cannot be read: %s", error)
                raise RefusedError("this site's ledger cannot be read.") from None

        policy.require(
            Case(
                plan,
                plan_hash.hex(),
                self.clock(),
                header,
                epsilon_after=spent,
            )
        )

    def ledger_path(self, settings: SiteSettings) -> Path:
        """The privacy ledger of the site's data set, over all runs."""
        return self.folder.ledgers / f"{settings.data.name}.jsonl"


def epsilon_after(ledger: Path, plan: PlanSettings, rounds: int, evaluations: int, delta: float) -> float:
    """ε at `delta` of all that a ledger was charged with, and of so many rounds and final evaluations."""
    # Imported here because accountants take a second to load, and most commands of a site ask for no ε.
    from sealora.plan.privacy_forecast import plan_schedule

    planned = plan_schedule(plan)
    events: list[Event] = [charge.event for charge in read_charges(ledger)] if ledger.is_file() else []
    return planned.accountant.epsilon([*events, *planned.events(rounds, evaluations)], delta)

"""What a site's secure sessions rest on, read anew for each attempt: approved roster and policy floors."""

import logging
from dataclasses import dataclass

from sealora.client.pinned_roster import PinnedRoster
from sealora.client.policy_book import PolicyBook
from sealora.client.site_folder import SiteFolder
from sealora.plan.payload import plan_bounds
from sealora.plan.settings import PlanSettings
from sealora.protocol.admission import Membership
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import RefusedError, SealoraError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Open
from sealora.protocol.secure_site import SecureSiteHalf
from sealora.protocol.session import SiteHalf

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SecureSessionsOfSite:
    """Makes the site's half of an attempt: `site.SessionFactory`. It makes no plain ones.

    `log` is the site's one attempt log, for all runs; `plan` is the one that the site takes part in.
    """

    folder: SiteFolder
    identity: IdentityKey
    log: AttemptLog
    plan: PlanSettings

    def __call__(self, opening: Open) -> SiteHalf:
        """Raises ProtocolError where the site must not enter; RefusedError if it has no roster or policy."""
        try:
            membership = self.membership()
        except SealoraError as error:
            # What is wrong names files of this site, so it stays here.
            logger.error("roster or policy cannot be used: %s", error)
            raise RefusedError("this site's roster or policy cannot be used.") from None
        return SecureSiteHalf(opening, membership, self.log, self.plan.training.threads)

    def membership(self) -> Membership:
        """Who the site is and what it trusts now. Raises UsageError, RefusedError."""
        floors = PolicyBook(self.folder).policy().floors(self.plan)
        return Membership(
            self.folder.name,
            self.identity,
            PinnedRoster(self.folder).current(),
            floors,
            plan_bounds(self.plan),
        )

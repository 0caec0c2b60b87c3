"""The folders of a small federation on loopback, made as its operators would make them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sealora.client import enrolment
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site_folder import SiteFolder
from sealora.plan.durable import write_durably
from sealora.plan.received import load_received
from sealora.protocol.enrolment import EnrolmentRequest, dump
from sealora.protocol.roster import Roster
from sealora.server import authority
from sealora.server.federation_folder import FederationFolder
from sealora.server.roster_book import RosterBook

DAYS = timedelta(days=7)


class Parties:
    """A coordinator's folder and one for each site, under one root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def make(cls, root: Path, sites: list[str], address: str, colluders: int) -> "Parties":
        """Everybody is enrolled, and all sites have signed the roster."""
        parties = cls(root)
        authority.create(parties.coordinator, "test", address, None, datetime.now(UTC))
        for name in sites:
            enrolment.create(root / name, name, None)
            parties.join(name)
        parties.sign(sites, colluders)
        return parties

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    def federation(self) -> FederationFolder:
        return FederationFolder.open(self.coordinator)

    def site(self, name: str) -> SiteFolder:
        return SiteFolder.open(self.root / name)

    def join(self, name: str, expired: bool = False) -> None:
        """Certify a site's last request and store the bundle, perhaps when it is of no use any more."""
        site, now = self.site(name), datetime.now(UTC)
        request = load_received(EnrolmentRequest, site.request_path)
        issued, valid = (now - timedelta(minutes=50), timedelta(minutes=5)) if expired else (now, DAYS)
        bundle = authority.enrol(self.federation(), request, valid, None, issued)
        write_durably(site.bundle_path, dump(bundle))

    def sign(self, sites: list[str], colluders: int) -> Roster:
        """A roster of everybody who is enrolled, signed by these sites and accepted by them."""
        federation = self.federation()
        book = RosterBook(federation)
        draft = book.propose(colluders)
        book.collect(
            [
                PinnedRoster(self.site(name)).sign(draft, self.site(name).identity(None), federation.public)
                for name in sites
            ]
        )
        roster = RosterBook(federation).current()
        for name in sites:
            PinnedRoster(self.site(name)).accept(roster)
        return roster

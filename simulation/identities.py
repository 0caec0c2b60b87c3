"""Keys and roster of a simulated federation: real cryptography, made afresh in every process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealora.client.site import SessionFactory
from sealora.plan.workers import available_cores
from sealora.protocol.admission import Bounds, Floors, Membership
from sealora.protocol.heads import HeadBook
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import MAX_COHORT
from sealora.protocol.plain import PlainSiteHalf
from sealora.protocol.roster import Roster, genesis
from sealora.protocol.settings import SecureAggregationSettings
from sealora.protocol.signatures import Signatures
from sealora.server.audit import open_head_book
from sealora.server.sessions import PlainSessions, SecureSessions, Sessions
from sealora.simulation.sessions import SimulatedSessions, SiteSessions

NO_BOUNDS = Bounds()


@dataclass(frozen=True)
class Identities:
    """How the parties of one run open their sessions; nobody is a member of plain ones."""

    coordinator: Sessions
    sites: dict[str, SessionFactory]
    members: dict[str, Membership] = field(default_factory=dict)


def make_identities(
    sites: Sequence[str],
    settings: SecureAggregationSettings,
    heads: Path | None = None,
    ideal_above: int = MAX_COHORT,
    bounds: Bounds = NO_BOUNDS,
) -> Identities:
    """Fresh identity keys and a roster that every site has signed; plain sessions if the plan says so.

    `heads` is the file in which the coordinator notes what the sites sign of their logs and ledgers;
    without one it remembers as long as it lives. Cohorts of more than `ideal_above` sites are summed by an
    ideal functionality. `bounds` are the plan's.
    As all sites are in this process, a signature that one of them has verified is good for the others, too.
    """
    if not settings.enabled:
        return Identities(PlainSessions(), dict.fromkeys(sites, PlainSiteHalf))
    coordinator = IdentityKey.generate()
    keys = {site: IdentityKey.generate() for site in sites}
    members = {site: key.public for site, key in keys.items()}
    book = HeadBook() if heads is None else open_head_book(heads)
    revision = genesis(members, coordinator.public, settings.colluders_of(len(sites)))
    for site, key in keys.items():
        revision = revision.signed(site, key)
    roster = Roster((revision,))
    floors, known = Floors(), Signatures()
    memberships = {site: Membership(site, key, roster, floors, bounds, known) for site, key in keys.items()}
    real = SecureSessions(coordinator, lambda: roster, settings, threads=available_cores(), heads=book)
    sessions = SimulatedSessions(real, roster, settings, ideal_above)
    halves = SiteSessions(memberships, sessions.party_of)
    return Identities(sessions, {site: halves.factory(site) for site in sites}, memberships)

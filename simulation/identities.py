"""Keys and roster of a simulated federation: real cryptography, made afresh in every process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealora.client.site import SessionFactory
from sealora.plan.workers import available_cores
from sealora.protocol.admission import Floors, Membership
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.heads import HeadBook
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Open
from sealora.protocol.plain import PlainSiteHalf
from sealora.protocol.roster import Roster, genesis
from sealora.protocol.secure_site import SecureSiteHalf
from sealora.protocol.session import SiteHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.protocol.signatures import Signatures
from sealora.server.audit import open_head_book
from sealora.server.sessions import PlainSessions, SecureSessions, Sessions


@dataclass(frozen=True)
class Identities:
    """How the parties of one run open their sessions; nobody is a member of plain ones."""

    coordinator: Sessions
    sites: dict[str, SessionFactory]
    members: dict[str, Membership] = field(default_factory=dict)


def make_identities(
    sites: Sequence[str], settings: SecureAggregationSettings, heads: Path | None = None
) -> Identities:
    """Fresh identity keys and a roster that every site has signed; plain sessions if the plan says so.

    `heads` is the file in which the coordinator notes what the sites sign of their logs and ledgers;
    without one it remembers as long as it lives.
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
    memberships = {site: Membership(site, key, roster, floors, known) for site, key in keys.items()}
    return Identities(
        SecureSessions(coordinator, lambda: roster, settings, threads=available_cores(), heads=book),
        {site: _secure(membership) for site, membership in memberships.items()},
        memberships,
    )


def _secure(membership: Membership) -> SessionFactory:
    """A factory that admits secure attempts only; the site's log lives as long as the simulation."""
    log = AttemptLog()

    def half(opening: Open) -> SiteHalf:
        return SecureSiteHalf(opening, membership, log)

    return half

"""Whether a site enters an attempt: the checks of an opening, before anything is trained."""

from dataclasses import dataclass, field
from math import inf

from sealora.protocol.agreement import HEADER
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Header, Open, model_hash
from sealora.protocol.roster import Roster
from sealora.protocol.signatures import Signatures
from sealora.protocol.thresholds import smallest_n_min


@dataclass(frozen=True)
class Floors:
    """The weakest parameters that a site's own policy admits, whatever the coordinator proposes."""

    n_min: int = 3
    colluders: int = 0
    clip: float = inf
    noise: float = 0.0


@dataclass(frozen=True)
class Membership:
    """Who a site is and what it trusts: its name and key, the pinned roster, its floors."""

    site: str
    identity: IdentityKey
    roster: Roster
    floors: Floors = Floors()
    signatures: Signatures = field(default_factory=Signatures, compare=False, repr=False)

    def sign(self, label: str, *fields: bytes) -> bytes:
        """The site's signature."""
        return self.signatures.sign(self.identity, label, *fields)

    def verify(self, site: str, signature: bytes, label: str, *fields: bytes) -> None:
        """Raises ProtocolError("forged", …) unless a site signed this, "stranger" if the roster lacks it."""
        self.signatures.verify(self.roster.public(site), signature, label, *fields)


def admit(opening: Open, membership: Membership, log: AttemptLog) -> Header:
    """The header of an attempt that the site may enter; the attempt is then on the site's log.

    Raises ProtocolError: "forged", "malformed", "plain", "wrong_roster", "stranger", "weak",
    "wrong_model", "forked", "unclosed" or "replayed".
    """
    authenticate(opening, membership)
    header = Header.parse(opening.header)
    check_roster(header, membership)
    check_cohort(header, membership)
    check_floors(header, membership.floors)
    check_model(header, opening)
    check_history(header, log)
    check_contributions(header, log)
    log.begin(header)
    return header


def authenticate(opening: Open, membership: Membership) -> None:
    """The header is the coordinator's."""
    public = membership.roster.coordinator
    membership.signatures.verify(public, opening.signature, HEADER, opening.header)


def check_roster(header: Header, membership: Membership) -> None:
    """The session is secure and rests on the roster that the site pins."""
    if not header.secure:
        raise ProtocolError("plain", "the coordinator asks for a plain session and this site gives none")
    if header.roster_hash != membership.roster.hash:
        raise ProtocolError("wrong_roster", "the coordinator goes by another roster than this site")


def check_cohort(header: Header, membership: Membership) -> None:
    """The cohort is on the roster, and the site in the cohort."""
    for site in header.cohort:
        membership.roster.public(site)
    if membership.site not in header.cohort:
        raise ProtocolError("stranger", f"{membership.site} is not in the cohort of this attempt")


def check_floors(header: Header, floors: Floors) -> None:
    """The header's parameters are sound, and no weaker than the site's policy."""
    if header.n_min < max(floors.n_min, smallest_n_min(header.colluders)):
        raise ProtocolError("weak", f"n_min is {header.n_min}, below what this site or the colluders require")
    if header.colluders < floors.colluders:
        raise ProtocolError("weak", f"{header.colluders} colluders are fewer than this site defends against")
    if header.clip > floors.clip or header.noise < floors.noise:
        raise ProtocolError("weak", "the clip is larger or the noise smaller than this site admits")


def check_model(header: Header, opening: Open) -> None:
    """The tensors are those that the header names."""
    if model_hash(opening.tensors, opening.trains) != header.model_hash:
        raise ProtocolError("wrong_model", "the tensors are not those that the header names")


def check_history(header: Header, log: AttemptLog) -> None:
    """The completed attempt ended, for the coordinator, as it did for this site."""
    known = log.transcript(header)
    if known is not None and known != header.previous_transcript:
        raise ProtocolError("forked", "the coordinator tells another history of the completed attempt")


def check_contributions(header: Header, log: AttemptLog) -> None:
    """Sessions in which the site contributed to this model are abandoned, and about to be closed."""
    if any(contribution.session not in header.abandoned for contribution in log.contributions(header)):
        raise ProtocolError("unclosed", "this site contributed to this model in a session that is still open")

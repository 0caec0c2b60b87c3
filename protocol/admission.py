"""Whether a site enters an attempt: the checks of an opening, before anything is trained."""

from dataclasses import dataclass, field

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
    attempts: int = 1000
    """Most attempts of one round that the site enters, in all runs of a plan."""
    runs: int = 1
    """Most runs of one plan that the site contributes to."""


@dataclass(frozen=True)
class Bounds:
    """What bounds and hides a contribution, as the approved plan says: see `Header`."""

    clip: float = 0.0
    range: float = 0.0
    noise: float = 0.0


@dataclass(frozen=True)
class Membership:
    """Who a site is and what it goes by: its name and key, the pinned roster, its policy, and its plan."""

    site: str
    identity: IdentityKey
    roster: Roster
    floors: Floors = Floors()
    bounds: Bounds = Bounds()
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
    "wrong_model", "forked", "exhausted", "unclosed" or "replayed".
    """
    authenticate(opening, membership)
    header = Header.parse(opening.header)
    check_roster(header, membership)
    check_cohort(header, membership)
    check_floors(header, membership.floors)
    check_bounds(header, membership.bounds)
    check_model(header, opening)
    check_history(header, log)
    check_attempts(header, membership.floors, log)
    check_runs(header, membership.floors, log)
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


def check_bounds(header: Header, bounds: Bounds) -> None:
    """Clip, range and noise are those of the plan that the site's operator approved."""
    if Bounds(header.clip, header.range, header.noise) != bounds:
        raise ProtocolError("weak", "the header's clip, range or noise are not those of the approved plan")


def check_model(header: Header, opening: Open) -> None:
    """The tensors are those that the header names."""
    if model_hash(opening.tensors, opening.trains) != header.model_hash:
        raise ProtocolError("wrong_model", "the tensors are not those that the header names")


def check_history(header: Header, log: AttemptLog) -> None:
    """The completed attempt ended, for the coordinator, as it did for this site."""
    known = log.transcript(header)
    if known is not None and known != header.previous_transcript:
        raise ProtocolError("forked", "the coordinator tells another history of the completed attempt")


def check_attempts(header: Header, floors: Floors, log: AttemptLog) -> None:
    """A round is not tried without end, under whatever name the coordinator gives the run."""
    if log.entered(header) >= floors.attempts:
        raise ProtocolError(
            "exhausted", f"this site has tried this round {floors.attempts} times, as often as it may"
        )


def check_runs(header: Header, floors: Floors, log: AttemptLog) -> None:
    """The plan is not run more often than the site's operator agreed to.

    A run's name is the coordinator's choice, and what a site sends on a model is the same in every run.
    """
    runs = log.runs(header.plan_hash)
    if header.run not in runs and len(runs) >= floors.runs:
        raise ProtocolError(
            "exhausted",
            f"the runs of this plan that this site's operator approved are used up ({len(runs)}); approve "
            "the plan once more for another",
        )


def check_contributions(header: Header, log: AttemptLog) -> None:
    """Sessions in which the site contributed to this round or model are abandoned, and about to be closed."""
    if any(contribution.session not in header.abandoned for contribution in log.contributions(header)):
        raise ProtocolError(
            "unclosed", "this site contributed to this round or model in a session that is still open"
        )

"""How the coordinator opens attempts: plain sessions or secure ones, behind one interface."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from sealora.protocol.agreement import sign_header
from sealora.protocol.errors import RunError
from sealora.protocol.heads import HeadBook
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Header
from sealora.protocol.plain import PlainCoordinatorHalf
from sealora.protocol.roster import Roster
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.session import CoordinatorHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.protocol.thresholds import tolerance

PLAIN = "none: the coordinator sees the update of every site"


class Sessions(Protocol):
    """Opens one session after the other."""

    @property
    def guarantee(self) -> str:
        """What the sessions hide from whom, for every report."""

    def propose(self, header: Header) -> Header:
        """The header with what the session has to fix."""

    def sign(self, header: bytes) -> bytes:
        """The coordinator's signature on a header's bytes; empty in a plain session."""

    def open(self, header: bytes) -> CoordinatorHalf:
        """The coordinator's half of the attempt."""


@dataclass
class PlainSessions:
    """The coordinator sees every update."""

    half: Callable[[bytes], CoordinatorHalf] = PlainCoordinatorHalf
    guarantee: str = PLAIN

    def propose(self, header: Header) -> Header:
        """Nothing to add."""
        return header

    def sign(self, header: bytes) -> bytes:
        """Plain headers are not signed."""
        return b""

    def open(self, header: bytes) -> CoordinatorHalf:
        """A half that adds what comes."""
        return self.half(header)


class SecureSessions:
    """The coordinator sees the sum.

    A session in which masked updates may have left, but that yielded no sum, is abandoned by the
    next attempt on the same model; the closures gathered meanwhile go along (SPEC.md, retry). `rosters`
    gives the roster in force and is asked before each attempt, so that members come and go without a pause.
    Unmasking uses `threads`; `heads` is what the sites signed of their logs and ledgers before.
    """

    def __init__(
        self,
        identity: IdentityKey,
        rosters: Callable[[], Roster],
        settings: SecureAggregationSettings,
        threads: int = 1,
        heads: HeadBook | None = None,
    ) -> None:
        self._identity = identity
        self._rosters = rosters
        self._roster = rosters()
        self._settings = settings
        self._threads = threads
        self._heads = heads if heads is not None else HeadBook()
        self._last: SecureCoordinatorHalf | None = None

    @property
    def guarantee(self) -> str:
        """Against whom the last session was secure."""
        if self._last is None:
            return "secure aggregation"
        against = f"a {self._last.adversary} coordinator and {self._last.header.colluders} colluding sites"
        return f"secure aggregation against {against}"

    def propose(self, header: Header) -> Header:
        """Thresholds from the plan and the cohort's size, the roster, and what must be closed first.

        Raises RunError if a cohort of this size cannot hide its members, or if so many of them released
        their shares for this model before that they will not contribute again.
        """
        self._roster = self._rosters()
        sites, before = len(header.cohort), self._before(header)
        if before is not None and not before.closable:
            raise _spent(before)
        colluders, least = self._settings.colluders_of(sites), self._settings.minimum_of(sites)
        if problem := tolerance(sites, colluders, least).problem:
            raise RunError(
                f"round {header.round} cannot be masked: {problem}", "Bring more sites, then resume."
            )
        return replace(
            header,
            colluders=colluders,
            n_min=least,
            roster_hash=self._roster.hash,
            abandoned=before.abandoned if before is not None else (),
        )

    def sign(self, header: bytes) -> bytes:
        """By the coordinator's identity key."""
        return sign_header(self._identity, header)

    def open(self, header: bytes) -> CoordinatorHalf:
        """A half that relays, adds and unmasks."""
        before = self._before(Header.parse(header))
        closures = before.closures if before is not None else ()
        self._last = SecureCoordinatorHalf(
            header, self._roster, closures, threads=self._threads, heads=self._heads
        )
        return self._last

    def _before(self, header: Header) -> SecureCoordinatorHalf | None:
        """The last half, if it was about the same work on the same model."""
        about = (header.work, header.model_hash)
        if self._last is not None and (self._last.header.work, self._last.header.model_hash) == about:
            return self._last
        return None


def _spent(half: SecureCoordinatorHalf) -> RunError:
    """Why there is no other attempt on a model: the one before can no longer be closed."""
    liars = ", ".join(sorted(half.culprits))
    return RunError(
        f"round {half.header.round} cannot be masked: too many sites have released their shares for this "
        "model before, and they do so once.",
        "Start a new run with another seed" + (f", without {liars}." if liars else "."),
    )

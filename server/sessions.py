"""How the coordinator opens attempts: plain sessions or secure ones, behind one interface.

With a file to keep them in, the session that was open when the coordinator was killed is taken up
again: sites that have answered a request answer it again with the same bytes, and work for it once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from sealora.protocol.agreement import sign_header
from sealora.protocol.attempts import Occasion
from sealora.protocol.coordinator_state import CoordinatorState
from sealora.protocol.errors import ProtocolError, RunError, UsageError
from sealora.protocol.heads import HeadBook
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Header, Work
from sealora.protocol.plain import PlainCoordinatorHalf
from sealora.protocol.roster import Roster
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.session import CoordinatorHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.protocol.thresholds import tolerance
from sealora.server.session_file import SessionFile

PLAIN = "none: the coordinator sees the update of every site"


@dataclass(frozen=True)
class Subject:
    """What a session is about: the same work on the same model in the same round of the same run."""

    run: bytes
    round: int
    work: Work
    model_hash: bytes

    @classmethod
    def of(cls, header: Header) -> "Subject":
        """The subject of a header."""
        return cls(header.run, header.round, header.work, header.model_hash)


class Sessions(Protocol):
    """Opens one session after the other."""

    @property
    def guarantee(self) -> str:
        """What the sessions hide from whom, for every report."""

    def interrupted(self, subject: Subject) -> bytes | None:
        """The header of the session that a killed process had open on this subject; told once."""

    def members(self, sites: Sequence[str]) -> Sequence[str]:
        """The names over which fixed groups are dealt: `sites`, or all that the roster in force names."""

    def of_group(self, number: int) -> "Sessions":
        """The sessions of one fixed group, the same each time; 0 stands for all sites and for these."""

    def propose(self, header: Header) -> Header:
        """The header with what the session has to fix."""

    def sign(self, header: bytes) -> bytes:
        """The coordinator's signature on a header's bytes; empty in a plain session."""

    def open(self, header: bytes, apart: bool = False) -> CoordinatorHalf:
        """The coordinator's half of the attempt; with `apart` it keeps every site's words, which needs no
        masks: raises RunError in a secure session."""


@dataclass
class PlainSessions:
    """The coordinator sees every update."""

    half: Callable[[bytes, bool], CoordinatorHalf] = PlainCoordinatorHalf
    guarantee: str = PLAIN
    file: SessionFile | None = None
    _kept: bytes | None = None
    _groups: "dict[int, PlainSessions]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._kept = self.file.load() if self.file is not None else None

    def interrupted(self, subject: Subject) -> bytes | None:
        """See Sessions: the header is all that a plain session has to keep."""
        header, self._kept = self._kept, None
        return header if header is not None and Subject.of(Header.parse(header)) == subject else None

    def members(self, sites: Sequence[str]) -> Sequence[str]:
        """See Sessions: there is no roster."""
        return sites

    def of_group(self, number: int) -> "PlainSessions":
        """See Sessions."""
        if number and number not in self._groups:
            file = self.file.of_group(number) if self.file is not None else None
            self._groups[number] = PlainSessions(self.half, self.guarantee, file)
        return self._groups[number] if number else self

    def propose(self, header: Header) -> Header:
        """Nothing to add."""
        return header

    def sign(self, header: bytes) -> bytes:
        """Plain headers are not signed."""
        return b""

    def open(self, header: bytes, apart: bool = False) -> CoordinatorHalf:
        """A half that adds what comes."""
        if self.file is not None:
            self.file.save(header)
        return self.half(header, apart)


class SecureSessions:
    """The coordinator sees the sum.

    A session in which masked updates may have left, but that yielded no sum, is abandoned by the
    next attempt of the same round or on the same model; the closures gathered meanwhile go along (SPEC.md,
    retry). `rosters` gives the roster in force and is asked before each attempt, so that members come and go
    without a pause.
    Unmasking uses `threads`; `heads` is what the sites signed of their logs and ledgers before.
    """

    def __init__(
        self,
        identity: IdentityKey,
        rosters: Callable[[], Roster],
        settings: SecureAggregationSettings,
        threads: int = 1,
        file: SessionFile | None = None,
        heads: HeadBook | None = None,
    ) -> None:
        """Raises UsageError if the file was damaged."""
        self._identity = identity
        self._rosters = rosters
        self._roster = rosters()
        self._settings = settings
        self._threads = threads
        self._file = file
        self._heads = heads if heads is not None else HeadBook()
        self._last: SecureCoordinatorHalf | None = None
        self._kept: bytes | None = None
        self._groups: dict[int, SecureSessions] = {}
        if file is not None:
            self._restore(file)

    def _restore(self, file: SessionFile) -> None:
        state = file.load()
        if state is None:
            return
        try:
            self._last = SecureCoordinatorHalf.from_bytes(
                state, self._roster, file.save, self._threads, heads=self._heads
            )
            self._kept = CoordinatorState.parse(state).header
        except ProtocolError:
            raise UsageError(
                "the session that was open cannot be read.", "Restore the state folder from a backup."
            ) from None

    def interrupted(self, subject: Subject) -> bytes | None:
        """See Sessions. A session under another roster than the one in force is only closed."""
        header, self._kept = self._kept, None
        if header is None or self._last is None or Subject.of(self._last.header) != subject:
            return None
        return header if self._last.header.roster_hash == self._roster.hash else None

    @property
    def guarantee(self) -> str:
        """Against whom the last session was secure; of groups, the last of the one that withstands least."""
        if self._groups:
            weakest = min(self._groups.values(), key=lambda group: group.strength)
            return f"{weakest.guarantee}, within each of {len(self._groups)} groups, whose sums it sees"
        if self._last is None:
            return "secure aggregation"
        against = f"a {self._last.adversary} coordinator and {self._last.header.colluders} colluding sites"
        return f"secure aggregation against {against}"

    @property
    def strength(self) -> int:
        """Colluders that the last session withstands."""
        return self._last.header.colluders if self._last is not None else 0

    def members(self, sites: Sequence[str]) -> Sequence[str]:
        """See Sessions: also those who are not enrolled any more, so that no one changes groups when one
        leaves before the roster does."""
        return sorted(self._rosters().members)

    def of_group(self, number: int) -> "SecureSessions":
        """See Sessions. Groups share the keys, the roster and the book of heads."""
        if number and number not in self._groups:
            file = self._file.of_group(number) if self._file is not None else None
            self._groups[number] = SecureSessions(
                self._identity, self._rosters, self._settings, self._threads, file, self._heads
            )
        return self._groups[number] if number else self

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

    def open(self, header: bytes, apart: bool = False) -> CoordinatorHalf:
        """A half that relays, adds and unmasks, or the one that was interrupted under this header."""
        if apart:
            raise RunError(
                "a secure session shows no single update.", "Compare groups, or write enabled = false."
            )
        parsed = Header.parse(header)
        if self._last is not None and self._last.header == parsed:
            return self._last
        before = self._before(parsed)
        closures = before.closures if before is not None else ()
        save = self._file.save if self._file is not None else None
        self._last = SecureCoordinatorHalf(
            header, self._roster, closures, save, self._threads, heads=self._heads
        )
        if save is not None:
            save(self._last.to_bytes())
        return self._last

    def _before(self, header: Header) -> SecureCoordinatorHalf | None:
        """The last half, if sites that contributed to it contribute again only against closures."""
        last = self._last
        if last is not None and Occasion.of(last.header).meets(Occasion.of(header)):
            return last
        return None


def _spent(half: SecureCoordinatorHalf) -> RunError:
    """Why there is no other attempt: the one before can no longer be closed."""
    liars = ", ".join(sorted(half.culprits))
    return RunError(
        f"round {half.header.round} cannot be masked: too many sites have released their shares in this "
        "round, or on this model, before, and they do so once.",
        "Start a new run with another seed" + (f", without {liars}." if liars else "."),
    )

"""The secure sessions of a simulation: real ones, and ideal ones for cohorts that are too large for keys.

What sites hold of an attempt, and in a large federation their attempt logs too, is let go when the next
round opens: memory then grows with the cohort, not with all the sites that have ever taken part.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize

from sealora.client.site import SessionFactory
from sealora.protocol.admission import Membership
from sealora.protocol.attempts import NO_RECORDS, AttemptLog, Head
from sealora.protocol.codec import Words
from sealora.protocol.errors import ProtocolError, RunError
from sealora.protocol.messages import Header, Open
from sealora.protocol.roster import Roster
from sealora.protocol.secure_site import SecureSiteHalf
from sealora.protocol.session import CoordinatorHalf, SiteHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.protocol.thresholds import tolerance
from sealora.server.sessions import SecureSessions, Subject
from sealora.simulation.ideal import IdealCoordinatorHalf, IdealSiteHalf, TrustedParty

LOGS_IN_MEMORY = 1000
"""Most sites whose attempt logs stay in memory; those of more wait on disk for their site's next attempt."""


class SimulatedSessions:
    """Implements Sessions: real ones for cohorts of up to `limit` sites, and ideal ones above."""

    def __init__(
        self, real: SecureSessions, roster: Roster, settings: SecureAggregationSettings, limit: int
    ) -> None:
        self._real = real
        self._roster = roster
        self._settings = settings
        self._limit = limit
        self._party: TrustedParty | None = None
        self._groups: dict[int, SimulatedSessions] = {}

    def interrupted(self, subject: Subject) -> bytes | None:
        """Keys are made anew with each process, so no session goes on."""
        return None

    @property
    def guarantee(self) -> str:
        """See Sessions: of the last session, and of groups if one of them had an ideal one."""
        if not self._ideal:
            return self._real.guarantee
        within = f", within each of {len(self._groups)} groups" if self._groups else ""
        return (
            f"an ideal functionality in place of secure aggregation{within}, as cohorts of more than "
            f"{self._limit:,} sites are simulated without keys"
        )

    @property
    def _ideal(self) -> bool:
        return self._party is not None or any(group._ideal for group in self._groups.values())

    def members(self, sites: Sequence[str]) -> Sequence[str]:
        """See Sessions."""
        return self._real.members(sites)

    def of_group(self, number: int) -> "SimulatedSessions":
        """See Sessions."""
        if number and number not in self._groups:
            self._groups[number] = SimulatedSessions(
                self._real.of_group(number), self._roster, self._settings, self._limit
            )
        return self._groups[number] if number else self

    def propose(self, header: Header) -> Header:
        """See SecureSessions, whose thresholds an ideal session has too."""
        sites = len(header.cohort)
        if sites <= self._limit:
            return self._real.propose(header)
        colluders, least = self._settings.colluders_of(sites), self._settings.minimum_of(sites)
        if problem := tolerance(sites, colluders, least).problem:
            raise RunError(f"round {header.round} cannot be masked: {problem}", "Bring more sites.")
        return replace(header, colluders=colluders, n_min=least, roster_hash=self._roster.hash)

    def sign(self, header: bytes) -> bytes:
        """By the coordinator's identity key."""
        return self._real.sign(header)

    def open(self, header: bytes, apart: bool = False) -> CoordinatorHalf:
        """See Sessions."""
        if apart or len(Header.parse(header).cohort) <= self._limit:
            self._party = None
            return self._real.open(header, apart)
        self._party = TrustedParty(header)
        return IdealCoordinatorHalf(header, self._party)

    def party_of(self, about: bytes) -> TrustedParty | None:
        """The party of the attempt whose header has this digest; None if that has real keys."""
        if self._party is not None and self._party.name == about:
            return self._party
        return next(filter(None, (group.party_of(about) for group in self._groups.values())), None)


@dataclass(frozen=True)
class SiteSession:
    """Implements SiteHalf for one site and attempt; the half itself is in the `SiteSessions`."""

    sessions: "SiteSessions"
    site: str
    about: bytes
    """Digest of the attempt's header, which is long where the cohort is large."""

    @property
    def members(self) -> Collection[str]:
        """See SiteHalf."""
        return self.sessions.half(self).members

    def start(self, words: Words, ledger: Head = NO_RECORDS) -> bytes:
        """See SiteHalf."""
        return self.sessions.half(self).start(words, ledger)

    def receive(self, message: bytes) -> bytes:
        """See SiteHalf."""
        return self.sessions.half(self).receive(message)


class SiteSessions:
    """All sites' halves of the attempts of the round that is open; groups have several at a time."""

    def __init__(
        self, members: Mapping[str, Membership], party_of: Callable[[bytes], TrustedParty | None]
    ) -> None:
        """`party_of` gives the party that stands for keys in the attempt with this header, if one does."""
        self._members = members
        self._party_of = party_of
        self._round = (b"", 0, 0)
        self._halves: dict[str, tuple[bytes, SiteHalf]] = {}
        self._lock = threading.Lock()
        self._logs: dict[str, AttemptLog] = {}
        self._waiting: Path | None = None
        if len(members) > LOGS_IN_MEMORY:
            self._waiting = Path(mkdtemp(prefix="sealora-logs-"))
            finalize(self, shutil.rmtree, self._waiting, ignore_errors=True)

    def factory(self, site: str) -> SessionFactory:
        """Makes a site's half of an attempt; the halves of the round before are then gone."""

        def open_session(opening: Open) -> SiteHalf:
            session = SiteSession(self, site, hashlib.sha256(opening.header).digest())
            self._turn_to(Header.parse(opening.header))
            party = self._party_of(session.about)
            half: SiteHalf = (
                SecureSiteHalf(opening, self._members[site], self._log(site))
                if party is None
                else IdealSiteHalf(opening, site, party, self._members.keys())
            )
            with self._lock:
                self._halves[site] = (session.about, half)
            return session

        return open_session

    def half(self, session: SiteSession) -> SiteHalf:
        """Raises ProtocolError("out_of_order") once another round, or attempt of this site, is open."""
        with self._lock:
            about, half = self._halves.get(session.site, (b"", None))
            if half is None or session.about != about:
                raise ProtocolError("out_of_order", "the attempt is over")
            return half

    def _turn_to(self, header: Header) -> None:
        current = (header.run, int(header.work), header.round)
        with self._lock:
            if current != self._round:
                self._round = current
                self._halves.clear()
                if self._waiting is not None:
                    self._logs.clear()

    def _log(self, site: str) -> AttemptLog:
        """A site's log; from disk, if it had to wait there."""
        with self._lock:
            if site not in self._logs:
                self._logs[site] = self._read(site)
            return self._logs[site]

    def _read(self, site: str) -> AttemptLog:
        if self._waiting is None:
            return AttemptLog()
        path = self._waiting / site

        def append(record: bytes) -> None:
            with path.open("ab") as file:
                file.write(record + b"\n")

        return AttemptLog(path.read_bytes().splitlines() if path.exists() else (), append)

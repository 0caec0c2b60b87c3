"""The secure sessions of a simulation: real ones, and ideal ones for cohorts that are too large for keys.

What sites hold of an attempt, and in a large federation their attempt logs too, is let go when the next
attempt opens: memory then grows with the cohort, not with all the sites that have ever taken part.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping
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

    def interrupted(self, subject: Subject) -> bytes | None:
        """Keys are made anew with each process, so no session goes on."""
        return None

    @property
    def guarantee(self) -> str:
        """See Sessions: of the last session."""
        if self._party is None:
            return self._real.guarantee
        return (
            f"an ideal functionality in place of secure aggregation, as cohorts of more than {self._limit:,} "
            "sites are simulated without keys"
        )

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

    def open(self, header: bytes) -> CoordinatorHalf:
        """See Sessions."""
        if len(Header.parse(header).cohort) <= self._limit:
            self._party = None
            return self._real.open(header)
        self._party = TrustedParty(header)
        return IdealCoordinatorHalf(header, self._party)

    def party_of(self, about: bytes) -> TrustedParty | None:
        """The party of the attempt whose header has this digest; None if that has real keys."""
        return self._party if self._party is not None and self._party.name == about else None


@dataclass(frozen=True)
class SiteSession:
    """Implements SiteHalf for one site and attempt; the half itself is in the `SiteSessions`."""

    sessions: "SiteSessions"
    site: str
    about: bytes

    def start(self, words: Words, ledger: Head = NO_RECORDS) -> bytes:
        """See SiteHalf."""
        return self.sessions.half(self).start(words, ledger)

    def receive(self, message: bytes) -> bytes:
        """See SiteHalf."""
        return self.sessions.half(self).receive(message)


class SiteSessions:
    """All sites' halves of the attempt that is open."""

    def __init__(
        self, members: Mapping[str, Membership], party_of: Callable[[bytes], TrustedParty | None]
    ) -> None:
        """`party_of` gives the party that stands for keys in the attempt with this header, if one does."""
        self._members = members
        self._party_of = party_of
        self._about = b""  # digest of the open attempt's header, which is long where the cohort is
        self._halves: dict[str, SiteHalf] = {}
        self._lock = threading.Lock()
        self._logs: dict[str, AttemptLog] = {}
        self._waiting: Path | None = None
        if len(members) > LOGS_IN_MEMORY:
            self._waiting = Path(mkdtemp(prefix="sealora-logs-"))
            finalize(self, shutil.rmtree, self._waiting, ignore_errors=True)

    def factory(self, site: str) -> SessionFactory:
        """Makes a site's half of an attempt; the halves of the attempt before are then gone."""

        def open_session(opening: Open) -> SiteHalf:
            session = SiteSession(self, site, hashlib.sha256(opening.header).digest())
            self._turn_to(session.about)
            party = self._party_of(session.about)
            half = (
                SecureSiteHalf(opening, self._members[site], self._log(site))
                if party is None
                else IdealSiteHalf(opening, site, party)
            )
            with self._lock:
                if self._about == session.about:
                    self._halves[site] = half
            return session

        return open_session

    def half(self, session: SiteSession) -> SiteHalf:
        """Raises ProtocolError("out_of_order") once another attempt is open."""
        with self._lock:
            if session.about != self._about or session.site not in self._halves:
                raise ProtocolError("out_of_order", "the attempt is over")
            return self._halves[session.site]

    def _turn_to(self, about: bytes) -> None:
        with self._lock:
            if about != self._about:
                self._about = about
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

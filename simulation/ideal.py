"""The ideal functionality of secure aggregation, for cohorts too large to simulate with real keys.

A trusted third party takes every site's words and hands out one sum, of the survivors, if they are
enough: what SPEC.md promises of the protocol, without its keys, masks and shares. Phases, thresholds and
who counts as lost are the protocol's, so that the sum is the same bit for bit, and a site lost in a
phase is lost here as it would be there. What it costs, and what travels, is not: messages are a few bytes.
It exists in simulations only, and is named wherever a guarantee is reported.
"""

import hashlib
import tempfile
import threading
from collections.abc import Collection, Mapping
from typing import BinaryIO

import numpy as np

from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Words
from sealora.protocol.coordinator_state import CHECK, MASK, PHASES, UNMASK
from sealora.protocol.errors import AttemptFailed, AttemptPending, ProtocolError
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import Header, Open
from sealora.protocol.session import Sum
from sealora.protocol.thresholds import floor, threshold


class TrustedParty:
    """Holds the words of one attempt's sites on disk, and their sum in memory."""

    def __init__(self, header: bytes) -> None:
        about = Header.parse(header)
        self.name = hashlib.sha256(header).digest()
        self._bytes = 8 * about.words
        self._places = {site: place for place, site in enumerate(about.cohort)}
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the attempt
        self._lock = threading.Lock()
        self._sum = np.zeros(about.words, dtype=np.uint64)

    def take(self, site: str, words: Words) -> None:
        """Words of shape (header.words,), from a site."""
        with self._lock:
            self._file.seek(self._places[site] * self._bytes)
            self._file.write(words.astype("<u8", copy=False).data)

    def count(self, site: str) -> None:
        """Add a site's words to the sum, modulo 2^64."""
        with self._lock:
            self._file.seek(self._places[site] * self._bytes)
            self._sum += np.frombuffer(self._file.read(self._bytes), dtype="<u8")

    def hand_out(self) -> Words:
        """The sum; the words are gone."""
        self._file.close()
        return self._sum

    def __del__(self) -> None:
        """An attempt without a sum leaves nothing, either."""
        self._file.close()


class IdealSiteHalf:
    """Implements `session.SiteHalf`: gives its words to the trusted party and follows the phases."""

    def __init__(self, opening: Open, site: str, party: TrustedParty, members: Collection[str] = ()) -> None:
        """Raises ProtocolError if the opening is of another attempt than the party."""
        if hashlib.sha256(opening.header).digest() != party.name:
            raise ProtocolError("stale", "the opening is of another attempt")
        self._site = site
        self._party = party
        self._members = members

    @property
    def members(self) -> Collection[str]:
        """Names on the roster, which every simulated site has signed."""
        return self._members

    def start(self, words: Words, ledger: Head = NO_RECORDS) -> bytes:
        """Hand the words over; the ledger's head stays here."""
        self._party.take(self._site, words)
        return self._party.name

    def receive(self, message: bytes) -> bytes:
        """Every later phase is an empty question with an empty answer, but for the attempt's name."""
        if message[1:] != self._party.name:
            raise ProtocolError("stale", "the message belongs to another attempt")
        return message


class IdealCoordinatorHalf:
    """Implements `session.CoordinatorHalf`: learns who takes part and the sum, and nothing else."""

    def __init__(self, header: bytes, party: TrustedParty) -> None:
        self.header = Header.parse(header)
        self._party = party
        self._phase = 0
        self._answers: list[set[str]] = [set() for _ in PHASES]
        self._left: set[str] = set()
        self._finished = False

    @property
    def phase(self) -> str:
        """Name of the open phase, as in a secure session."""
        return PHASES[self._phase]

    @property
    def incomplete(self) -> bool:
        """Whether the sum is being opened, lacks sites, and may still get them."""
        return self._phase == UNMASK and len(self._answers[UNMASK]) < self._needed() and self._may_open()

    @property
    def transcript(self) -> bytes:
        """The attempt's name, once it has members."""
        return self._party.name if self._phase > CHECK else b""

    def requests(self) -> Mapping[str, bytes]:
        """The open phase's question to those who have not answered it."""
        if self._finished or self._phase == 0:
            return {}
        return dict.fromkeys(self._awaited(), self._question())

    def receive(self, site: str, message: Bytes) -> None:
        """Take an answer; whose mask phase is over counts. Raises ProtocolError for any other."""
        expected = self._question() if self._phase else self._party.name
        if self._finished or site not in self._expected() or site in self._answers[self._phase]:
            raise ProtocolError("unexpected", f"{site} is not expected to answer")
        if bytes(message) != expected:
            raise ProtocolError("malformed", f"{site} answers another question")
        if self._phase == MASK:
            self._party.count(site)
        self._answers[self._phase].add(site)

    def leave(self, site: str, reason: str) -> None:
        """Note that a site has refused."""
        self._left.add(site)

    def advance(self) -> None:
        """Close the open phase. Raises AttemptFailed where too few answered, AttemptPending if more may."""
        if self._finished:
            return
        answered, needed = len(self._answers[self._phase]), self._needed()
        if answered < needed:
            message = f"{answered} sites finished the phase “{self.phase}”, {needed} are needed."
            raise AttemptPending(message) if self._may_open() else AttemptFailed(message)
        if self._phase == UNMASK:
            self._finished = True
        else:
            self._phase += 1

    def result(self) -> Sum:
        """The sum, and the names of those in it. Raises RuntimeError before the last phase has closed."""
        if not self._finished:
            raise RuntimeError("the session has not ended")
        return Sum(self._party.hand_out(), tuple(sorted(self._answers[MASK])))

    def _question(self) -> bytes:
        return bytes([self._phase]) + self._party.name

    def _expected(self) -> set[str]:
        """Who may answer the open phase: those who answered the one before, and have not left."""
        return (self._answers[self._phase - 1] if self._phase else set(self.header.cohort)) - self._left

    def _awaited(self) -> list[str]:
        return sorted(self._expected() - self._answers[self._phase])

    def _needed(self) -> int:
        """Fewest answers to the open phase, from the members of U1, as in a secure session."""
        members = len(self._answers[0])
        if self._phase <= MASK:
            least = floor(members, self.header.colluders, self.header.n_min)
            return max(least, self.header.quorum)
        return threshold(members, self.header.colluders)

    def _may_open(self) -> bool:
        """Whether the sum is being opened, and the sites that have not answered may still be enough."""
        awaited = self._awaited()
        if self._phase != UNMASK or not awaited:
            return False
        return len(self._answers[UNMASK]) + len(awaited) >= self._needed()

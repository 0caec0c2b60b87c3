"""The coordinator's half of a secure session: relays, adds masked vectors as they come, and unmasks.

It follows the protocol and checks what it can, so that an honest run survives faulty sites; what
protects the sites from it stands in `secure_site`. Memory is one vector, whatever the number of
sites. Its whole state is `to_bytes`, which `save` gets at the end of each phase, before the next
one's requests can be read: after a crash it resumes the same session with the same U2 and U3.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

import numpy as np

from sealora.protocol import secure_messages
from sealora.protocol.agreement import (
    ABORT,
    ADVERT,
    CONSISTENT,
    MASKED,
    RELEASE,
    SHARES,
    Agreement,
    header_hash,
    receipt_fields,
    session_name,
    statement,
    words_digest,
)
from sealora.protocol.attempts import CLOSED, Closure
from sealora.protocol.coordinator_state import PHASES, CoordinatorState
from sealora.protocol.errors import AttemptFailed, ProtocolError
from sealora.protocol.graph import shape
from sealora.protocol.keys import ExchangeKey, verify
from sealora.protocol.long_fields import Bytes
from sealora.protocol.masks import apply_masks
from sealora.protocol.messages import Header
from sealora.protocol.roster import Roster
from sealora.protocol.secure_messages import (
    OVERHEAD_BYTES,
    SEALED_BYTES,
    Abort,
    Advert,
    Adverts,
    Answer,
    Consistency,
    Deliveries,
    Masked,
    Member,
    Release,
    Shares,
    Signers,
    Survivors,
)
from sealora.protocol.session import Sum
from sealora.protocol.shamir import SHARE_BYTES
from sealora.protocol.thresholds import floor, threshold
from sealora.protocol.unmasking import Unmasking

ADVERTISE, SHARE, MASK, CHECK, UNMASK = range(5)
ANSWERS: tuple[type[Answer], ...] = (Advert, Shares, Masked, Consistency, Release)


class SecureCoordinatorHalf:
    """Implements `session.CoordinatorHalf`.

    Parameters: the header's bytes as they travel; the roster in force; `closures` gathered in
    earlier attempts; `save` gets the state at the end of each phase; `threads` for unmasking.
    """

    def __init__(
        self,
        header: bytes,
        roster: Roster,
        closures: Iterable[Closure] = (),
        save: Callable[[bytes], None] | None = None,
        threads: int = 1,
    ) -> None:
        self.header = Header.parse(header)
        self._state = CoordinatorState(header, np.zeros(self.header.words, dtype=np.uint64))
        self._state.closures.update(
            {(kept.session, kept.public): kept for kept in closures if kept.session in self.header.abandoned}
        )
        self._header_hash = header_hash(header)
        self._roster = roster
        self._save = save
        self._threads = threads
        self._aborts: dict[str, str] = {}
        self._keys: set[bytes] = set()

    @staticmethod
    def from_bytes(
        raw: bytes, roster: Roster, save: Callable[[bytes], None] | None = None, threads: int = 1
    ) -> "SecureCoordinatorHalf":
        """The half whose state was saved. Raises ProtocolError("malformed") for other bytes."""
        state = CoordinatorState.parse(raw)
        half = SecureCoordinatorHalf(state.header, roster, save=save, threads=threads)
        half._state = state
        half._keys = {key for member in state.members.values() for key in (member.share_key, member.mask_key)}
        return half

    def to_bytes(self) -> bytes:
        """The whole state. It contains no site's secret, but the sum once unmasked."""
        return self._state.serialise()

    @property
    def phase(self) -> str:
        """Name of the open phase."""
        return PHASES[self._state.phase]

    @property
    def culprits(self) -> frozenset[str]:
        """Sites that broke the protocol for certain, unless more than `colluders` of the others lie."""
        opponents: dict[str, set[str]] = {}
        for one, other in self._state.disputes:
            opponents.setdefault(one, set()).add(other)
            opponents.setdefault(other, set()).add(one)
        disputed = {site for site, others in opponents.items() if len(others) > self.header.colluders}
        return frozenset(self._state.culprits | disputed)

    @property
    def transcript(self) -> bytes:
        """The statement on U2 and U3, once U3 is fixed: the next header's `previous_transcript`."""
        return statement(self._agreement.name, self._state.sharers, self._state.survivors)

    @property
    def adversary(self) -> str:
        """Against whom the session is secure: for every report. A forecast until its members are known."""
        if self._state.phase > ADVERTISE:
            return self._agreement.shape.adversary
        sites, colluders = len(self.header.cohort), self.header.colluders
        least = floor(sites, colluders, self.header.n_min)
        return shape(sites, colluders, threshold(sites, colluders), least).adversary

    @property
    def abandoned(self) -> tuple[bytes, ...]:
        """Sessions that the header of another attempt on this model has to abandon."""
        opened = self._state.phase >= MASK and not self._state.finished
        return (*self.header.abandoned, *((self._agreement.name,) if opened else ()))

    @property
    def closures(self) -> tuple[Closure, ...]:
        """Closures gathered so far, for the half of another attempt on this model."""
        return tuple(self._state.closures.values())

    def requests(self) -> Mapping[str, bytes]:
        """The open phase's messages for the sites that have not answered it."""
        state = self._state
        if state.finished or state.phase == ADVERTISE:
            return {}
        awaited = [site for site in self._asked() if self._expects(site)]
        if state.phase == MASK:
            return self._deliveries(awaited)
        return dict.fromkeys(awaited, secure_messages.request(self._announcement()))

    def receive(self, site: str, message: Bytes) -> None:
        """Take a site's answer to the open phase, or its signed abort, after which it is out.

        Raises: ProtocolError; but for "unexpected" the site then counts as a culprit.
        """
        if not self._expects(site):
            raise ProtocolError("unexpected", f"{site} is not expected to answer")
        try:
            self._take(site, secure_messages.parse_reply(message, self._limit()))
        except ProtocolError:
            self._state.culprits.add(site)
            raise

    def advance(self) -> None:
        """Close the open phase and save. Raises AttemptFailed where too few answered."""
        state = self._state
        if state.finished:
            return
        answered, needed = len(state.answers), self._needed()
        if answered < needed:
            reasons = "".join(f" {site}: {reason}." for site, reason in sorted(self._aborts.items()))
            raise AttemptFailed(
                f"{answered} sites finished the phase “{self.phase}”, {needed} are needed.{reasons}",
                self.culprits,
            )
        if state.phase == UNMASK:
            self._unmask()
        else:
            state.phase += 1
        if state.phase == CHECK:
            state.forget_sealed()
        if self._save is not None:
            self._save(self.to_bytes())

    def result(self) -> Sum:
        """The sum, and the names of U3. Raises RuntimeError before the last phase has closed."""
        if not self._state.finished:
            raise RuntimeError("the session has not ended")
        sites = self._agreement.sites
        return Sum(self._state.words, tuple(sites[position] for position in self._state.survivors))

    @cached_property
    def _agreement(self) -> Agreement:
        """Fixed when the first phase closes. Raises RuntimeError before."""
        if self._state.phase == ADVERTISE:
            raise RuntimeError("the members of the session are not known yet")
        members = tuple(member for _, member in sorted(self._state.members.items()))
        return Agreement(self.header, session_name(self._state.header, members), members)

    def _asked(self) -> Iterable[str]:
        """Sites to which the open phase's request goes."""
        state = self._state
        if state.phase == ADVERTISE:
            return self.header.cohort
        asked = (self._agreement.everyone, state.sharers, state.survivors, tuple(sorted(state.statements)))
        return [self._agreement.sites[position] for position in asked[state.phase - 1]]

    def _expects(self, site: str) -> bool:
        """Whether a site may still answer the open phase."""
        state = self._state
        if state.finished or site in self._aborts:
            return False
        if state.phase == ADVERTISE:
            return site in self.header.cohort and site not in state.members
        position = self._positions.get(site)
        if position is None or position in state.answers:
            return False
        return state.phase == SHARE or position in state.answers_before

    def _announcement(self) -> Adverts | Survivors | Signers:
        """The request of the open phase, where it is the same for all sites."""
        state, name = self._state, self._header_hash
        if state.phase == SHARE:
            return Adverts(name, self._agreement.members, self.closures)
        name = self._agreement.name
        if state.phase == CHECK:
            survivors = state.survivors
            return Survivors(name, survivors, tuple(state.receipts[site] for site in survivors))
        # More than t would only have to be verified.
        signers = tuple(sorted(state.statements))[: self._agreement.threshold]
        return Signers(name, signers, tuple(state.statements[site] for site in signers))

    def _needed(self) -> int:
        """Fewest answers with which the open phase may close."""
        if self._state.phase == ADVERTISE:
            present = Agreement(self.header, b"", tuple(self._state.members.values()))
            return max(present.floor, self.header.quorum)
        if self._state.phase in (SHARE, MASK):
            return max(self._agreement.floor, self.header.quorum)
        return self._agreement.threshold

    def _limit(self) -> int:
        """Most bytes of an answer to the open phase."""
        cohort = len(self.header.cohort)
        sizes = (100 * len(self.header.abandoned), SEALED_BYTES * cohort, 8 * self.header.words, 0)
        return OVERHEAD_BYTES + (*sizes, SHARE_BYTES * cohort)[self._state.phase]

    def _take(self, site: str, answer: Answer) -> None:
        if not isinstance(answer, (Abort, ANSWERS[self._state.phase])):
            raise ProtocolError("out_of_order", f"{site} answered another phase")
        match answer:
            case Abort():
                self._take_abort(site, answer)
            case Advert():
                self._take_advert(site, answer)
            case Shares():
                self._take_shares(site, answer)
            case Masked():
                self._take_masked(site, answer)
            case Consistency():
                self._require_name(answer.session)
                self._verify(site, answer.signature, CONSISTENT, self.transcript)
                self._state.statements[self._position(site)] = answer.signature
            case Release():
                self._take_release(site, answer)

    def _take_abort(self, site: str, abort: Abort) -> None:
        names = {self._header_hash}
        if self._state.phase > ADVERTISE:
            names.add(self._agreement.name)
        if abort.about not in names:
            raise ProtocolError("stale", f"{site} aborts another session")
        fields = abort.about, abort.failure.encode(), abort.text.encode(), abort.accused.encode()
        self._verify(site, abort.signature, ABORT, *fields)
        self._aborts[site] = f"{abort.failure}, {abort.text}"
        if abort.accused in self.header.cohort and abort.accused != site:
            self._state.disputes.add((site, abort.accused))

    def _take_advert(self, site: str, advert: Advert) -> None:
        if advert.header_hash != self._header_hash:
            raise ProtocolError("stale", f"{site} advertises keys for another attempt")
        fields = self._header_hash, site.encode(), advert.share_key, advert.mask_key
        self._verify(site, advert.signature, ADVERT, *fields)
        keys = {advert.share_key, advert.mask_key}
        if len(keys) < 2 or keys & self._keys:
            raise ProtocolError("duplicate", f"{site} advertises an exchange key that is in use")
        probe = ExchangeKey.generate()
        for key in keys:
            probe.agree(key)
        if len(advert.closures) != len(self.header.abandoned):
            raise ProtocolError("malformed", f"{site} does not answer for each abandoned session")
        for session, signature in zip(self.header.abandoned, advert.closures, strict=True):
            if signature:
                self._verify(site, signature, CLOSED, session)
                public = self._roster.public(site)
                self._state.closures[session, public] = Closure(session, public, signature)
        self._keys |= keys
        self._state.members[site] = Member(site, advert.share_key, advert.mask_key, advert.signature)

    def _take_shares(self, site: str, shares: Shares) -> None:
        self._require_name(shares.session)
        self._verify(site, shares.signature, SHARES, shares.session, shares.commitment, shares.sealed)
        position = self._position(site)
        if len(shares.sealed) != SEALED_BYTES * (len(self._agreement.holders[position]) - 1):
            raise ProtocolError("malformed", f"{site} did not seal one pair of shares for each holder")
        self._state.shares[position] = shares

    def _take_masked(self, site: str, masked: Masked) -> None:
        """Add a masked vector; only its receipt is kept."""
        self._require_name(masked.session)
        if masked.words.shape != (self.header.words,):
            raise ProtocolError("wrong_dimension", f"{site} sent {masked.words.size} words")
        receipt = masked.receipt
        fields = receipt_fields(masked.session, self._state.sharers, receipt.digest, receipt.head)
        self._verify(site, receipt.signature, MASKED, *fields)
        if words_digest(masked.words) != receipt.digest:
            raise ProtocolError("forged", f"{site} signed another vector than it sent")
        self._state.words += masked.words
        self._state.receipts[self._position(site)] = receipt

    def _take_release(self, site: str, release: Release) -> None:
        self._require_name(release.session)
        self._verify(site, release.signature, RELEASE, release.session, release.shares)
        position = self._position(site)
        dealers = self._agreement.dealers(position, self._state.shares)
        if len(release.shares) != SHARE_BYTES * len(dealers):
            raise ProtocolError("malformed", f"{site} did not release one share for each site")
        self._state.releases[position] = release.shares

    def _deliveries(self, awaited: Iterable[str]) -> dict[str, bytes]:
        """For each site the shares that the members of U2 sealed for it."""
        agreement, shares = self._agreement, self._state.shares
        sharers = self._state.sharers
        places = {
            dealer: {peer: place for place, peer in enumerate(agreement.peers(dealer, agreement.everyone))}
            for dealer in sharers
        }
        requests = {}
        for site in awaited:
            own = self._position(site)
            sealed = b"".join(
                shares[dealer].sealed[places[dealer][own] * SEALED_BYTES :][:SEALED_BYTES]
                for dealer in agreement.peers(own, places)
            )
            requests[site] = secure_messages.request(Deliveries(agreement.name, sharers, sealed))
        return requests

    def _unmask(self) -> None:
        state = self._state
        commitments = {position: shares.commitment for position, shares in state.shares.items()}
        unmasking = Unmasking(self._agreement, state.sharers, state.survivors, commitments, state.releases)
        try:
            apply_masks(state.words, *unmasking.masks(), self._threads)
        except AttemptFailed as failure:
            raise AttemptFailed(failure.message, failure.culprits | self.culprits) from None
        finally:
            sites = self._agreement.sites
            state.disputes.update((sites[one], sites[other]) for one, other in unmasking.disputes)
        state.finished = True

    def _position(self, site: str) -> int:
        return self._positions[site]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {site: position for position, site in enumerate(self._agreement.sites)}

    def _require_name(self, session: bytes) -> None:
        if session != self._agreement.name:
            raise ProtocolError("stale", "the answer belongs to another session")

    def _verify(self, site: str, signature: bytes, label: str, *fields: bytes) -> None:
        verify(self._roster.public(site), signature, label, *fields)

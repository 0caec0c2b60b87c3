"""What sites answer to the coordinator: each answer is checked in full before it leaves a trace.

A failed check raises ProtocolError with a failure class of SPEC.md; "unexpected" says nothing against
the site, any other class does.
"""

from sealora.protocol import secure_messages
from sealora.protocol.agreement import (
    ABORT,
    ADVERT,
    CONSISTENT,
    MASKED,
    RELEASE,
    SHARES,
    receipt_fields,
    words_digest,
)
from sealora.protocol.attempts import CLOSED, Closure
from sealora.protocol.coordinator_state import ADVERTISE, SHARE, CoordinatorState
from sealora.protocol.errors import ProtocolError
from sealora.protocol.heads import HeadBook
from sealora.protocol.keys import ExchangeKey, verify
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import Header
from sealora.protocol.roster import Roster
from sealora.protocol.secure_answers import Abort, Advert, Answer, Consistency, Masked, Release, Shares
from sealora.protocol.secure_fields import SEALED_BYTES
from sealora.protocol.secure_messages import OVERHEAD_BYTES
from sealora.protocol.secure_requests import Member
from sealora.protocol.shamir import SHARE_BYTES

ANSWERS: tuple[type[Answer], ...] = (Advert, Shares, Masked, Consistency, Release)


class Intake:
    """Fills a session's state from answers. `left` maps sites that are out to the reason they gave.

    `heads` are what the sites signed of their logs and ledgers in the sessions before.
    """

    def __init__(self, state: CoordinatorState, roster: Roster, heads: HeadBook) -> None:
        self._state = state
        self._roster = roster
        self._heads = heads
        self._keys = {key for member in state.members.values() for key in (member.share_key, member.mask_key)}
        self.left: dict[str, str] = {}

    def expects(self, site: str) -> bool:
        """Whether a site may still answer the open phase."""
        state = self._state
        if state.finished or site in self.left:
            return False
        if state.phase == ADVERTISE:
            return site in state.about.cohort and site not in state.members
        position = state.positions.get(site)
        if position is None or position in state.answers:
            return False
        return state.phase == SHARE or position in state.answers_before

    def take(self, site: str, message: Bytes) -> None:
        """An answer to the open phase, or an abort, after which the site is out."""
        answer = secure_messages.parse_reply(message, self._limit())
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
                self._take_statement(site, answer)
            case Release():
                self._take_release(site, answer)

    def _limit(self) -> int:
        """Most bytes of an answer to the open phase."""
        header = self._state.about
        cohort = len(header.cohort)
        sizes = (100 * len(header.abandoned), SEALED_BYTES * cohort, 8 * header.words, 0)
        return OVERHEAD_BYTES + (*sizes, SHARE_BYTES * cohort)[self._state.phase]

    def _take_abort(self, site: str, abort: Abort) -> None:
        state = self._state
        names = {state.header_hash}
        if state.phase > ADVERTISE:
            names.add(state.agreement.name)
        if abort.about not in names:
            raise ProtocolError("stale", f"{site} aborts another session")
        fields = abort.about, abort.failure.encode(), abort.text.encode(), abort.accused.encode()
        self._verify(site, abort.signature, ABORT, *fields)
        self.left[site] = f"{abort.failure}, {abort.text}"
        if abort.accused in state.about.cohort and abort.accused != site:
            state.disputes.add((site, abort.accused))

    def _take_advert(self, site: str, advert: Advert) -> None:
        state = self._state
        if advert.header_hash != state.header_hash:
            raise ProtocolError("stale", f"{site} advertises keys for another attempt")
        fields = state.header_hash, site.encode(), advert.share_key, advert.mask_key
        self._verify(site, advert.signature, ADVERT, *fields)
        keys = {advert.share_key, advert.mask_key}
        if len(keys) < 2 or keys & self._keys:
            raise ProtocolError("duplicate", f"{site} advertises an exchange key that is in use")
        probe = ExchangeKey.generate()
        for key in keys:
            probe.agree(key)
        closures = self._closures(site, advert)
        state.closures.update({(closure.session, closure.public): closure for closure in closures})
        self._keys |= keys
        state.members[site] = Member(site, advert.share_key, advert.mask_key, advert.signature)

    def _closures(self, site: str, advert: Advert) -> list[Closure]:
        """The site's promises never to open the sessions that the header abandons."""
        abandoned, public = self._state.about.abandoned, self._roster.public(site)
        if len(advert.closures) != len(abandoned):
            raise ProtocolError("malformed", f"{site} does not answer for each abandoned session")
        given = [
            Closure(session, public, signature)
            for session, signature in zip(abandoned, advert.closures, strict=True)
            if signature
        ]
        for closure in given:
            self._verify(site, closure.signature, CLOSED, closure.session)
        return given

    def _take_shares(self, site: str, shares: Shares) -> None:
        self._require_name(shares.session)
        self._verify(site, shares.signature, SHARES, shares.session, shares.commitment, shares.sealed)
        position = self._state.positions[site]
        if len(shares.sealed) != SEALED_BYTES * (len(self._state.agreement.holders[position]) - 1):
            raise ProtocolError("malformed", f"{site} did not seal one pair of shares for each holder")
        self._state.shares[position] = shares

    def _take_masked(self, site: str, masked: Masked) -> None:
        """Add a masked vector; only its receipt is kept."""
        state, receipt = self._state, masked.receipt
        self._require_name(masked.session)
        require_dimension(site, masked, state.about)
        fields = receipt_fields(masked.session, state.sharers, receipt.digest, receipt.head, receipt.ledger)
        self._verify(site, receipt.signature, MASKED, *fields)
        if words_digest(masked.words) != receipt.digest:
            raise ProtocolError("forged", f"{site} signed another vector than it sent")
        self._heads.note(site, self._roster.public(site), receipt.head, receipt.ledger)
        state.words += masked.words
        state.receipts[state.positions[site]] = receipt

    def _take_statement(self, site: str, answer: Consistency) -> None:
        self._require_name(answer.session)
        self._verify(site, answer.signature, CONSISTENT, self._state.transcript)
        self._state.statements[self._state.positions[site]] = answer.signature

    def _take_release(self, site: str, release: Release) -> None:
        self._require_name(release.session)
        self._verify(site, release.signature, RELEASE, release.session, release.shares)
        position = self._state.positions[site]
        dealers = self._state.agreement.dealers(position, self._state.shares)
        if len(release.shares) != SHARE_BYTES * len(dealers):
            raise ProtocolError("malformed", f"{site} did not release one share for each site")
        self._state.releases[position] = release.shares

    def _require_name(self, session: bytes) -> None:
        if session != self._state.agreement.name:
            raise ProtocolError("stale", "the answer belongs to another session")

    def _verify(self, site: str, signature: bytes, label: str, *fields: bytes) -> None:
        verify(self._roster.public(site), signature, label, *fields)


def require_dimension(site: str, masked: Masked, header: Header) -> None:
    """Raises ProtocolError("wrong_dimension") for a vector that is not as long as the header says."""
    if masked.words.shape != (header.words,):
        raise ProtocolError("wrong_dimension", f"{site} sent {masked.words.size} words")

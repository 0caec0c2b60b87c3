"""A site's half of a secure session: R0 advertise, R1 share, R2 mask, R3 confirm, R4 release.

The half lives in one process and is never written down: a restarted site is a dropout, because
masking again under the same keys would be a two-time pad. Any failed check ends it: secrets are
dropped, nothing of them has left, and `Aborted` carries the signed reason for the coordinator.
"""

import hashlib
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NoReturn

import numpy as np

from sealora.protocol import admission, secure_messages, site_checks
from sealora.protocol.admission import Membership
from sealora.protocol.agreement import (
    ABORT,
    ADVERT,
    CONSISTENT,
    MASKED,
    RELEASE,
    SHARES,
    Agreement,
    commitment,
    header_hash,
    pair_mask_key,
    receipt_fields,
    sealing_data,
    sealing_key,
    self_mask_key,
    session_name,
    statement,
    words_digest,
)
from sealora.protocol.attempts import (
    CLOSED,
    NO_RECORDS,
    AttemptLog,
    Contribution,
    Head,
    require_closed,
)
from sealora.protocol.codec import Words
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import ExchangeKey, seal, unseal
from sealora.protocol.masks import apply_masks
from sealora.protocol.messages import MAX_TEXT_BYTES, Open
from sealora.protocol.secure_answers import (
    MAX_FAILURE_BYTES,
    Abort,
    Advert,
    Answer,
    Consistency,
    Masked,
    Receipt,
    Release,
    Shares,
)
from sealora.protocol.secure_fields import SEALED_BYTES
from sealora.protocol.secure_messages import OVERHEAD_BYTES, PER_SITE_BYTES
from sealora.protocol.secure_requests import Adverts, Deliveries, Member, Request, Signers, Survivors
from sealora.protocol.shamir import SHARE_BYTES, split

SECRETS = ("_words", "_share_key", "_mask_key", "_seed", "_agreed", "_pair_keys", "_held")
CLOSURE_BYTES = 160
"""Most bytes of one closure in a request."""


class Aborted(ProtocolError):
    """The half has ended. `reply` is the signed reason, to be sent instead of an answer."""

    def __init__(self, error: ProtocolError, reply: bytes) -> None:
        super().__init__(error.failure, error.message)
        self.reply = reply


class PeerError(ProtocolError):
    """A failure that another site may be the cause of."""

    def __init__(self, error: ProtocolError, accused: str) -> None:
        super().__init__(error.failure, error.message)
        self.accused = accused


class SecureSiteHalf:
    """Implements `session.SiteHalf`. Made before training, so that nothing is done for a bad header."""

    _words: Words
    _share_key: ExchangeKey
    _mask_key: ExchangeKey
    _seed: bytes
    _agreed: dict[int, bytes]
    _pair_keys: dict[int, bytes]
    _held: dict[int, tuple[bytes, bytes]]
    _member: Member
    _agreement: Agreement
    _view: site_checks.View
    _own: int
    _closed: tuple[Contribution, ...]
    _sharers: tuple[int, ...]
    _survivors: tuple[int, ...]
    _statement: bytes
    _ledger: Head

    def __init__(self, opening: Open, membership: Membership, log: AttemptLog, threads: int = 1) -> None:
        """Check the opening and write the attempt on the log. Raises Aborted."""
        self._membership = membership
        self._log = log
        self._threads = threads
        self._header_bytes = opening.header
        self._about = header_hash(opening.header)
        self._awaits: type[Request] | None = None
        self._answered: tuple[bytes, bytes] | None = None
        self._started = False
        with self._guard():
            self.header = admission.admit(opening, membership, log)

    @property
    def members(self) -> Collection[str]:
        """Names on the pinned roster."""
        return self._membership.roster.members.keys()

    def start(self, words: Words, ledger: Head = NO_RECORDS) -> bytes:
        """R0: advertise fresh keys, and close the sessions that the header abandons.

        Parameters: uint64 words of shape (header.words,), copied; the head of the site's ledger, once
        the words are paid for. Raises Aborted.
        """
        with self._guard():
            if self._started:
                raise ProtocolError("out_of_order", "the session has begun")
            if words.shape != (self.header.words,) or words.dtype != np.uint64:
                raise ProtocolError("wrong_dimension", "the payload is not of the header's dimension")
            self._started = True
            self._words, self._ledger = words.copy(), ledger
            self._share_key, self._mask_key = ExchangeKey.generate(), ExchangeKey.generate()
            self._awaits = Adverts
            return secure_messages.reply(self._advertise())

    def receive(self, message: bytes) -> bytes:
        """R1 to R4. A repeated request gets the very bytes of the answer it had. Raises Aborted."""
        with self._guard():
            digest = hashlib.sha256(message).digest()
            if self._answered is not None and self._answered[0] == digest:
                return self._answered[1]
            answer = self._answer(secure_messages.parse_request(message, self._limit()))
            self._answered = digest, secure_messages.reply(answer)
            return self._answered[1]

    def _answer(self, request: Request) -> Answer:
        site_checks.check_phase(request, self._awaits)
        match request:
            case Adverts():
                answer: Answer = self._share(request)
                self._awaits = Deliveries
            case Deliveries():
                answer = self._mask(request)
                self._awaits = Survivors
            case Survivors():
                answer = self._confirm(request)
                self._awaits = Signers
            case Signers():
                answer = self._release(request)
                self._wipe()
        return answer

    def _advertise(self) -> Advert:
        site, sign = self._membership.site, self._membership.sign
        keys = self._share_key.public, self._mask_key.public
        signature = sign(ADVERT, self._about, site.encode(), *keys)
        closures = tuple(
            sign(CLOSED, session) if self._log.close(session) else b"" for session in self.header.abandoned
        )
        self._member = Member(site, *keys, signature)
        return Advert(self._about, *keys, signature, closures)

    def _share(self, request: Adverts) -> Shares:
        """R1: fix U1 and with it the session, then deal shares of the two secrets."""
        members = request.members
        site_checks.check_name(request.header_hash, self._about)
        site_checks.check_members(members, self.header)
        site_checks.check_signatures(members, self._about, self._membership)
        site_checks.check_keys(members)
        site_checks.check_own(members, self._member)
        self._closed = self._log.contributions(self.header)
        require_closed(self._closed, request.closures, self._membership.signatures.verify)
        agreement = Agreement(self.header, session_name(self._header_bytes, members), members)
        site_checks.check_size(members, agreement.floor)
        self._agreement, self._about = agreement, agreement.name
        self._view = site_checks.View(agreement, self._membership)
        self._own = agreement.sites.index(self._membership.site)
        self._agree()
        self._seed = secrets.token_bytes(32)
        mark = commitment(self._seed, self._membership.site, agreement.name)
        sealed = self._deal()
        signature = self._membership.sign(SHARES, agreement.name, mark, sealed)
        return Shares(agreement.name, mark, sealed, signature)

    def _agree(self) -> None:
        """The secrets shared with each peer. A low-order key ends the attempt before a share leaves."""
        agreement, site = self._agreement, self._membership.site
        self._agreed, self._pair_keys = {}, {}
        for peer in agreement.peers(self._own, agreement.everyone):
            member = agreement.members[peer]
            with _blaming(member.site):
                self._agreed[peer] = self._share_key.agree(member.share_key)
                agreed = self._mask_key.agree(member.mask_key)
            self._pair_keys[peer] = pair_mask_key(
                agreed, agreement.name, site, member.site, self.header.model_hash
            )

    def _deal(self) -> bytes:
        """Split both secrets, keep the own pair of shares, and seal the others."""
        agreement = self._agreement
        holders = agreement.holders[self._own]
        size = agreement.shape.threshold, len(holders)
        pairs = zip(split(self._seed, *size), split(self._mask_key.secret, *size), strict=True)
        dealt = dict(zip(holders, pairs, strict=True))
        self._held = {self._own: dealt.pop(self._own)}
        return b"".join(self._seal(holder, b"".join(pair)) for holder, pair in dealt.items())

    def _seal(self, peer: int, shares: bytes) -> bytes:
        ends = self._membership.site, self._agreement.sites[peer]
        key = sealing_key(self._agreed[peer], self._agreement.name, *ends)
        return seal(key, shares, sealing_data(self._agreement.name, *ends))

    def _mask(self, request: Deliveries) -> Masked:
        """R2: take the shares of U2 and let the masked vector go, which is already release."""
        agreement = self._agreement
        site_checks.check_name(request.session, agreement.name)
        site_checks.check_sharers(request.sharers, self._own, agreement)
        site_checks.check_size(request.sharers, agreement.floor)
        site_checks.check_still_closed(self._log.contributions(self.header), self._closed)
        self._sharers = request.sharers
        peers = agreement.peers(self._own, frozenset(request.sharers))
        self._take(peers, request.sealed)
        publics = frozenset(self._view.public(position) for position in agreement.everyone)
        self._log.contribute(self.header, Contribution(agreement.name, publics, agreement.threshold))
        add = [self_mask_key(self._seed, agreement.name)]
        add += [self._pair_keys[peer] for peer in peers if self._own < peer]
        subtract = [self._pair_keys[peer] for peer in peers if peer < self._own]
        words = self._words
        apply_masks(words, add, subtract, self._threads)
        self._drop("_words", "_seed", "_mask_key", "_share_key", "_agreed", "_pair_keys")
        digest, head = words_digest(words), self._log.head
        fields = receipt_fields(agreement.name, self._sharers, digest, head, self._ledger)
        receipt = Receipt(digest, head, self._membership.sign(MASKED, *fields), self._ledger)
        return Masked(agreement.name, words, receipt)

    def _take(self, peers: tuple[int, ...], sealed: bytes) -> None:
        """Open the shares that the peers sealed for this site."""
        if len(sealed) != SEALED_BYTES * len(peers):
            raise ProtocolError("malformed", "the sealed shares are not one for each member of U2")
        for place, peer in enumerate(peers):
            ends = self._agreement.sites[peer], self._membership.site
            key = sealing_key(self._agreed[peer], self._agreement.name, *ends)
            with _blaming(ends[0]):
                pair = unseal(
                    key,
                    sealed[place * SEALED_BYTES : (place + 1) * SEALED_BYTES],
                    sealing_data(self._agreement.name, *ends),
                )
            self._held[peer] = pair[:SHARE_BYTES], pair[SHARE_BYTES:]

    def _confirm(self, request: Survivors) -> Consistency:
        """R3: one statement about this session, ever, and only if all survivors saw the same U2."""
        survivors, name = request.survivors, self._agreement.name
        site_checks.check_name(request.session, name)
        site_checks.check_survivors(survivors, self._own, self._sharers)
        site_checks.check_size(survivors, self._agreement.floor)
        receipts = dict(zip(survivors, request.receipts, strict=True))
        site_checks.check_receipts(receipts, self._sharers, self._view)
        self._log.observe(
            {self._view.public(position): receipt.head.count for position, receipt in receipts.items()}
        )
        self._survivors = survivors
        self._statement = statement(name, self._sharers, survivors)
        self._log.state(self.header, name, self._statement)
        return Consistency(name, self._membership.sign(CONSISTENT, self._statement))

    def _release(self, request: Signers) -> Release:
        """R4: exactly one share for each member of U2, once."""
        agreement = self._agreement
        site_checks.check_name(request.session, agreement.name)
        site_checks.check_signers(request.signers, self._survivors)
        site_checks.check_size(request.signers, agreement.threshold)
        signatures = dict(zip(request.signers, request.signatures, strict=True))
        site_checks.check_statements(signatures, self._statement, self._view)
        self._log.release(agreement.name)
        alive = frozenset(self._survivors)
        shares = b"".join(
            self._held[dealer][0] if dealer in alive else self._held[dealer][1]
            for dealer in agreement.dealers(self._own, frozenset(self._sharers))
        )
        signature = self._membership.sign(RELEASE, agreement.name, shares)
        return Release(agreement.name, shares, signature)

    def _limit(self) -> int:
        """Most bytes of a request: fields for each site, closures for each abandoned session."""
        sites, abandoned = len(self.header.cohort), len(self.header.abandoned)
        return OVERHEAD_BYTES + sites * (PER_SITE_BYTES + abandoned * CLOSURE_BYTES)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """End the half on any failure, with a signed reason where the protocol was broken."""
        try:
            yield
        except ProtocolError as error:
            self._wipe()
            self._answered = None
            raise Aborted(error, self._abort(error)) from None
        except BaseException:
            self._wipe()
            self._answered = None
            raise

    def _abort(self, error: ProtocolError) -> bytes:
        accused = error.accused if isinstance(error, PeerError) else ""
        failure = error.failure[:MAX_FAILURE_BYTES]
        text = error.message.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
        fields = self._about, failure.encode(), text.encode(), accused.encode()
        signature = self._membership.sign(ABORT, *fields)
        return secure_messages.reply(Abort(self._about, failure, text, accused, signature))

    def _wipe(self) -> None:
        self._drop(*SECRETS)
        self._started, self._awaits = True, None

    def _drop(self, *names: str) -> None:
        """Forget secrets. Python cannot overwrite bytes; this leaves nothing that refers to them."""
        for name in names:
            self.__dict__.pop(name, None)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or written: two copies would mask two payloads under the same keys."""
        raise TypeError("a site's half of a secure session lives in one process, once")

    def __repr__(self) -> str:
        return f"SecureSiteHalf({self._membership.site})"


@contextmanager
def _blaming(site: str) -> Iterator[None]:
    try:
        yield
    except ProtocolError as error:
        raise PeerError(error, site) from None

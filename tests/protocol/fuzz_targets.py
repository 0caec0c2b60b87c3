"""Every parser and both halves in every phase, each with valid messages and a way to feed it bytes."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from sealora.protocol import messages, messages_pb2, secure_messages, secure_messages_pb2
from sealora.protocol.admission import Membership
from sealora.protocol.agreement import (
    ABORT,
    ADVERT,
    CONSISTENT,
    MASKED,
    RELEASE,
    SHARES,
    receipt_fields,
    sign_header,
    words_digest,
)
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Header, Open, Work, model_hash
from sealora.protocol.plain import PlainCoordinatorHalf, PlainSiteHalf
from sealora.protocol.roster import Roster, genesis
from sealora.protocol.secure_answers import Abort, Advert, Consistency, Masked, Release, Shares
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.secure_site import SECRETS, Aborted, SecureSiteHalf

SITES = tuple(f"site{number}" for number in range(4))
VICTIM, LIAR = SITES[0], SITES[1]
PHASES = 5
WORDS = 40
LIMIT = 1 << 16


# --- valid messages ---


def identity(name: str) -> IdentityKey:
    return IdentityKey.from_bytes(name.encode().ljust(32, b"."))


@dataclass
class Party:
    """A site whose half can be put back to any moment of the session."""

    site: str
    roster: Roster
    records: list[bytes] = field(default_factory=list)

    @property
    def membership(self) -> Membership:
        return Membership(self.site, identity(self.site), self.roster)

    def open(self, opening: Open) -> SecureSiteHalf:
        return SecureSiteHalf(opening, self.membership, AttemptLog(append=self.records.append))


def frozen(party: Party, half: SecureSiteHalf) -> Callable[[], SecureSiteHalf]:
    """Makes halves that are where the given one is now; it cannot be copied otherwise, by design."""
    state = {name: shallow(value) for name, value in vars(half).items() if name != "_log"}
    records = tuple(party.records)

    def thaw() -> SecureSiteHalf:
        twin = object.__new__(SecureSiteHalf)
        vars(twin).update({name: shallow(value) for name, value in state.items()}, _log=AttemptLog(records))
        return twin

    return thaw


def shallow(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | np.ndarray) else value


@dataclass
class Recording:
    """One session: by phase the victim's half and request, the coordinator's state and the liar's answer."""

    roster: Roster
    opening: Open
    halves: list[Callable[[], SecureSiteHalf]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)


def record() -> Recording:
    members = {site: identity(site).public for site in SITES}
    revision = genesis(members, identity("coordinator").public, 0)
    for site in SITES:
        revision = revision.signed(site, identity(site))
    roster = Roster((revision,))
    tape = Recording(roster, opening_of(header_of(roster).serialise()))
    coordinator = SecureCoordinatorHalf(tape.opening.header, roster)
    parties = {site: Party(site, roster) for site in SITES}
    halves: dict[str, SecureSiteHalf] = {}
    for phase in range(PHASES):
        tape.states.append(coordinator.to_bytes())
        requests = coordinator.requests()
        for site in SITES:
            if phase == 0:
                halves[site] = parties[site].open(tape.opening)
                answer = halves[site].start(np.arange(WORDS, dtype=np.uint64))
            else:
                if site == VICTIM:
                    tape.halves.append(frozen(parties[site], halves[site]))
                    tape.requests.append(requests[site])
                answer = halves[site].receive(requests[site])
            if site == LIAR:
                tape.answers.append(answer)
            coordinator.receive(site, answer)
        coordinator.advance()
    return tape


def header_of(roster: Roster) -> Header:
    return Header(
        plan_hash=bytes(32),
        run=bytes(16),
        round=1,
        attempt=1,
        work=Work.TRAIN,
        model_hash=model_hash(b"tensors", ("a",)),
        cohort=SITES,
        quorum=1,
        words=WORDS,
        levels=255,
        n_min=3,
        roster_hash=roster.hash,
    )


def opening_of(header: bytes) -> Open:
    return Open(header, b"tensors", ("a",), sign_header(identity("coordinator"), header))


# --- targets ---


@dataclass(frozen=True)
class Target:
    """Something that reads a peer's bytes, with valid messages, and how the peer signs its lies."""

    name: str
    feed: Callable[[bytes], object]
    valid: tuple[bytes, ...]
    kind: type[Any] | None = None
    signed: Callable[[bytes], bytes] = bytes


def targets(tape: Recording) -> list[Target]:
    """All parsers, then the halves in every phase."""
    header, opening = tape.opening.header, messages.request(tape.opening)
    plain = messages.contribution(hashlib.sha256(header).digest(), np.arange(WORDS, dtype=np.uint64))
    refusal = messages.reply(messages.Refusal(messages.Reason.POLICY, "no"))
    wrapped = [messages.request(request) for request in tape.requests]
    replies = [messages.reply(answer) for answer in tape.answers]
    return [
        Target("header", Header.parse, (header,), messages_pb2.Header),
        Target("request", messages.parse_request, (opening, *wrapped), messages_pb2.Request),
        Target("reply", messages.parse_reply, (refusal, *replies), messages_pb2.Reply),
        Target("secure request", secure_request, tuple(tape.requests), secure_messages_pb2.SecureRequest),
        Target("secure reply", secure_reply, tuple(tape.answers), secure_messages_pb2.SecureReply),
        Target("plain coordinator", partial(plain_coordinator, header), (plain,), messages_pb2.Contribution),
        Target("plain site", PlainSiteHalf(tape.opening).receive, (plain,)),
        Target("opening", partial(open_site, tape.roster), (opening,), messages_pb2.Request),
        Target("signed header", partial(open_signed, tape.roster), (header,), messages_pb2.Header),
        *(site_target(tape, phase) for phase in range(1, PHASES)),
        *(coordinator_target(tape, phase) for phase in range(PHASES)),
    ]


def secure_request(raw: bytes) -> object:
    return secure_messages.parse_request(raw, LIMIT)


def secure_reply(raw: bytes) -> object:
    return secure_messages.parse_reply(raw, LIMIT)


def plain_coordinator(header: bytes, raw: bytes) -> None:
    half = PlainCoordinatorHalf(header)
    half.receive(VICTIM, raw)


def open_site(roster: Roster, raw: bytes) -> object:
    """What a site does with bytes from its link before it has a half."""
    request = messages.parse_request(raw)
    if isinstance(request, Open):
        return Party(VICTIM, roster).open(request).start(np.arange(WORDS, dtype=np.uint64))
    raise ProtocolError("out_of_order", "there is no session")


def open_signed(roster: Roster, header: bytes) -> object:
    """The coordinator signs whatever header it likes."""
    return open_site(roster, messages.request(opening_of(header)))


def site_target(tape: Recording, phase: int) -> Target:
    thaw = tape.halves[phase - 1]

    def feed(raw: bytes) -> None:
        half = thaw()
        try:
            half.receive(raw)
        except Aborted as aborted:
            assert not set(SECRETS) & set(vars(half))
            reason = secure_messages.parse_reply(aborted.reply, LIMIT)
            assert isinstance(reason, Abort)
            raise

    kind = secure_messages_pb2.SecureRequest
    return Target(f"site in phase {phase}", feed, (tape.requests[phase - 1], *tape.requests), kind)


def coordinator_target(tape: Recording, phase: int) -> Target:
    def feed(raw: bytes) -> None:
        half = SecureCoordinatorHalf.from_bytes(tape.states[phase], tape.roster)
        try:
            half.receive(LIAR, raw)
        except ProtocolError:
            assert half.culprits == {LIAR}
            half._state.culprits.clear()
            assert half.to_bytes() == tape.states[phase], "a refused message left a trace"
            raise

    answers = (tape.answers[phase], *tape.answers)
    kind = secure_messages_pb2.SecureReply
    return Target(f"coordinator in phase {phase}", feed, answers, kind, signed_again)


def signed_again(raw: bytes) -> bytes:
    """The same answer with the liar's signature on what it now says; as it is where it cannot be read."""
    try:
        answer = secure_messages.parse_reply(raw, LIMIT)
    except ProtocolError:
        return raw
    sign = identity(LIAR).sign
    match answer:
        case Advert():
            about = answer.header_hash, LIAR.encode(), answer.share_key, answer.mask_key
            return secure_messages.reply(replace(answer, signature=sign(ADVERT, *about)))
        case Shares():
            about = answer.session, answer.commitment, answer.sealed
            return secure_messages.reply(replace(answer, signature=sign(SHARES, *about)))
        case Masked():
            digest, kept = words_digest(answer.words), answer.receipt
            about = receipt_fields(answer.session, range(len(SITES)), digest, kept.head, kept.ledger)
            receipt = replace(answer.receipt, digest=digest, signature=sign(MASKED, *about))
            return secure_messages.reply(replace(answer, receipt=receipt))
        case Release():
            about = answer.session, answer.shares
            return secure_messages.reply(replace(answer, signature=sign(RELEASE, *about)))
        case Consistency():
            return secure_messages.reply(replace(answer, signature=sign(CONSISTENT, answer.session)))
        case Abort():
            about = answer.about, answer.failure.encode(), answer.text.encode(), answer.accused.encode()
            return secure_messages.reply(replace(answer, signature=sign(ABORT, *about)))

"""Bytes that no honest peer sends, at every parser and both halves: ProtocolError, or nothing escapes.

Each target has valid messages, which are flipped, cut, lengthened, spliced and rearranged field by
field, and, where a malicious peer could, signed again. `SEALORA_FUZZ_SEED` repeats a soak.
"""

import copy
import hashlib
import os
import random
import secrets
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol import (
    certificates,
    frames,
    link_pb2,
    messages,
    messages_pb2,
    secure_messages,
    secure_messages_pb2,
)
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
from sealora.protocol.certificates import (
    authority_certificate,
    check_authority,
    issue,
    new_tls_key,
    requested_key,
    verify_certificate,
)
from sealora.protocol.draft import Draft
from sealora.protocol.enrolment import Approval, Bundle, EnrolmentRequest, dump, load
from sealora.protocol.errors import ProtocolError
from sealora.protocol.frames import Credit, Hello, Part, Welcome
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Header, Open, Work, model_hash
from sealora.protocol.plain import PlainCoordinatorHalf, PlainSiteHalf
from sealora.protocol.roster import Roster, genesis
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.secure_site import SECRETS, Aborted, SecureSiteHalf

SITES = tuple(f"site{number}" for number in range(4))
VICTIM, LIAR = SITES[0], SITES[1]
PHASES = 5
WORDS = 40
LIMIT = 1 << 16
SHORT, SOAK = 40, 1_000_000
BYTES_FOR_A_BYTE, BYTES_AT_LEAST = 16, 1 << 18
"""What Python and NumPy may allocate over a message: so much for each of its bytes, and so much more."""

Mutation = Callable[[random.Random, bytes], bytes]


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
    roster = tape.roster.serialise()
    draft = tape.roster.revisions[-1].next({**tape.roster.members, "new": bytes(32)}).serialise()
    hostile = [draft.replace(b'"new"', name) for name in (b'"\\ud800"', b'"a\\n\\u001b[2K"', b'""')]
    return [
        *enrolment_targets(),
        Target("frame", frames.parse, tuple(frame.serialise() for frame in FRAMES), link_pb2.Frame),
        Target("header", Header.parse, (header,), messages_pb2.Header),
        Target("request", messages.parse_request, (opening, *wrapped), messages_pb2.Request),
        Target("reply", messages.parse_reply, (refusal, *replies), messages_pb2.Reply),
        Target("secure request", secure_request, tuple(tape.requests), secure_messages_pb2.SecureRequest),
        Target("secure reply", secure_reply, tuple(tape.answers), secure_messages_pb2.SecureReply),
        Target("roster", Roster.parse, (roster, *hostile)),
        Target("draft", Draft.parse, (roster + draft, *(roster + line for line in hostile))),
        Target("plain coordinator", partial(plain_coordinator, header), (plain,), messages_pb2.Contribution),
        Target("plain site", PlainSiteHalf(tape.opening).receive, (plain,)),
        Target("opening", partial(open_site, tape.roster), (opening,), messages_pb2.Request),
        Target("signed header", partial(open_signed, tape.roster), (header,), messages_pb2.Header),
        *(site_target(tape, phase) for phase in range(1, PHASES)),
        *(coordinator_target(tape, phase) for phase in range(PHASES)),
    ]


FRAMES = (
    Part(bytes(16), 3, 0, b"abc", hashlib.sha256(b"abc").digest()),
    Hello(VICTIM, bytes(16)),
    Welcome(1, bytes(32)),
    Credit(bytes(16), 5, 9),
)


def enrolment_targets() -> list[Target]:
    """What sites and coordinator send one another as files before a link exists."""
    now, authority_key, tls_key = datetime.now(UTC), new_tls_key(), new_tls_key()
    authority = authority_certificate(authority_key, "stroke", now)
    coordinator, site = identity("coordinator"), identity(VICTIM)
    party = certificates.Party("stroke", "site", VICTIM, site.public)
    certificate = issue(authority_key, authority, tls_key.public_key(), party, now, timedelta(days=1))
    revision = genesis({VICTIM: site.public}, coordinator.public, 0)
    bundle = Bundle(
        federation="stroke",
        address="federation.example.org:8443",
        authority=authority.decode(),
        coordinator=coordinator.public.hex(),
        site=VICTIM,
        certificate=certificate.decode(),
        roster=revision.signed(VICTIM, site).serialise().decode(),
    ).signed(coordinator)
    request, approval = EnrolmentRequest.make(VICTIM, site, tls_key), Approval.make(VICTIM, site, revision)
    return [
        Target("bundle", partial(read_bundle, now), (dump(bundle),)),
        Target("enrolment request", read_enrolment, (dump(request),)),
        Target("approval", partial(load, Approval), (dump(approval),)),
    ]


def read_bundle(now: datetime, raw: bytes) -> None:
    """Everything that a site reads in a bundle, its signature last: whoever signs it may be the liar."""
    bundle = load(Bundle, raw)
    check_authority(bundle.authority.encode())
    verify_certificate(bundle.certificate.encode(), bundle.authority.encode(), "site", now)
    Roster.parse(bundle.roster.encode())
    bundle.check()


def read_enrolment(raw: bytes) -> None:
    """Everything that a coordinator reads in a request, its signature last."""
    request = load(EnrolmentRequest, raw)
    requested_key(request.tls_request.encode())
    request.check()


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
            assert isinstance(reason, secure_messages.Abort)
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
        case secure_messages.Advert():
            about = answer.header_hash, LIAR.encode(), answer.share_key, answer.mask_key
            return secure_messages.reply(replace(answer, signature=sign(ADVERT, *about)))
        case secure_messages.Shares():
            about = answer.session, answer.commitment, answer.sealed
            return secure_messages.reply(replace(answer, signature=sign(SHARES, *about)))
        case secure_messages.Masked():
            digest, kept = words_digest(answer.words), answer.receipt
            about = receipt_fields(answer.session, range(len(SITES)), digest, kept.head, kept.ledger)
            receipt = replace(answer.receipt, digest=digest, signature=sign(MASKED, *about))
            return secure_messages.reply(replace(answer, receipt=receipt))
        case secure_messages.Release():
            about = answer.session, answer.shares
            return secure_messages.reply(replace(answer, signature=sign(RELEASE, *about)))
        case secure_messages.Consistency():
            return secure_messages.reply(replace(answer, signature=sign(CONSISTENT, answer.session)))
        case secure_messages.Abort():
            about = answer.about, answer.failure.encode(), answer.text.encode(), answer.accused.encode()
            return secure_messages.reply(replace(answer, signature=sign(ABORT, *about)))


# --- mutations ---


def flip(rng: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def lengthen(rng: random.Random, raw: bytes) -> bytes:
    return raw + rng.randbytes(rng.choice((1, 7, 300)))


def repeat(rng: random.Random, raw: bytes) -> bytes:
    start, stop = sorted(rng.choices(range(len(raw) + 1), k=2))
    return raw[:stop] + raw[start:stop] * rng.choice((1, 2, 30)) + raw[stop:]


def remove(rng: random.Random, raw: bytes) -> bytes:
    start, stop = sorted(rng.choices(range(len(raw) + 1), k=2))
    return raw[:start] + raw[stop:]


def swell(rng: random.Random, raw: bytes) -> bytes:
    """Varints of the largest values where lengths may stand."""
    place = rng.randrange(len(raw) + 1)
    number = rng.choice((b"\x7f", b"\xff\x01", b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\xff" * 11))
    return raw[:place] + number + raw[place + rng.choice((0, 1, len(number))) :]


def noise(rng: random.Random, raw: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 5, 64, 1000)))


MUTATIONS: tuple[Mutation, ...] = (flip, flip, flip, cut, lengthen, repeat, remove, swell, noise)


def mutated(rng: random.Random, target: Target) -> bytes:
    """A lie for a target: in its bytes, or field by field and signed again."""
    raw = rng.choice(target.valid)
    if target.kind is not None and rng.random() < 0.4:
        return target.signed(rearranged(rng, target.kind, raw))
    for _ in range(rng.choice((1, 1, 2))):
        raw = rng.choice(MUTATIONS)(rng, raw)
    return raw


def rearranged(rng: random.Random, kind: type[Any], raw: bytes) -> bytes:
    """The message with one to three of its fields changed, swapped, repeated or left out."""
    message = kind()
    message.ParseFromString(raw)
    for _ in range(rng.choice((1, 1, 3))):
        fields = list(leaves(message))
        if fields:
            change_field(rng, *rng.choice(fields), rng.choice(fields))
    return bytes(message.SerializeToString())


def leaves(message: Any) -> Iterator[tuple[Any, str]]:
    """(message, field name) of every field that is set and no single message."""
    for descriptor, value in message.ListFields():
        repeated = hasattr(value, "extend")
        if repeated or descriptor.message_type is None:
            yield message, descriptor.name
        if descriptor.message_type is not None:
            for part in value if repeated else (value,):
                yield from leaves(part)


def change_field(rng: random.Random, message: Any, name: str, other: tuple[Any, str]) -> None:
    value, swapped = getattr(message, name), getattr(*other)
    if hasattr(value, "extend"):
        parts = list(copy.deepcopy(value))
        rng.choice(
            (parts.pop, parts.reverse, parts.clear, partial(parts.extend, parts * rng.choice((1, 20))))
        )()
        del value[:]
        value.extend(parts)
        return
    choices: tuple[Any, ...]
    match value:
        case bytes():
            size = len(value)
            choices = (
                b"",
                value + b"\0",
                value[1:],
                rng.randbytes(size),
                bytes(size),
                b"\xff" * size,
                swapped,
            )
        case str():
            choices = ("", value + "\0", "x" * 300, "é" * 150, LIAR, swapped)
        case float():
            choices = (float("nan"), float("inf"), -1.0, 1e308, 5e-324, swapped)
        case _:
            choices = (0, 1, value + 1, 2**31 - 1, 2**32 - 1, 2**64 - 1, swapped)
    try:
        setattr(message, name, rng.choice(choices))
    except (ValueError, TypeError):
        message.ClearField(name)


# --- tests ---


def refused(target: Target, raw: bytes) -> bool:
    """Whether a target refuses the bytes. Fails on anything but a ProtocolError."""
    try:
        target.feed(raw)
    except ProtocolError:
        return True
    except Exception as error:
        raise AssertionError(f"{target.name} let {error!r} escape for {raw.hex()}") from error
    return False


@pytest.fixture(scope="module")
def tape() -> Recording:
    return record()


NAMES = [target.name for target in targets(record())]


@pytest.fixture(scope="module")
def by_name(tape: Recording) -> dict[str, Target]:
    return {target.name: target for target in targets(tape)}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "plain site"])
def test_what_is_mutated_is_otherwise_accepted(by_name: dict[str, Target], name: str) -> None:
    """So that refusals are due to the mutations."""
    assert not refused(by_name[name], by_name[name].valid[0])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_a_protocol_error_escapes(by_name: dict[str, Target], name: str) -> None:
    rng, target = random.Random(name), by_name[name]
    refusals = sum(refused(target, mutated(rng, target)) for _ in range(SHORT))
    assert refusals > SHORT // 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_a_protocol_error_escapes_longer(by_name: dict[str, Target], name: str) -> None:
    rng, target = random.Random(f"longer {name}"), by_name[name]
    assert sum(refused(target, mutated(rng, target)) for _ in range(10 * SHORT)) > SHORT


@pytest.mark.slow
@given(raw=st.binary(max_size=300), name=st.sampled_from(NAMES))
@settings(deadline=None, max_examples=100)
def test_arbitrary_bytes_are_refused_or_read(by_name: dict[str, Target], raw: bytes, name: str) -> None:
    refused(by_name[name], raw)


HUGE = 200_000
BOMBS = {
    "noise": random.Random(1).randbytes(HUGE),
    "zeros": bytes(HUGE),
    "length beyond the end": b"\x0a\xff\xff\xff\xff\x07" + bytes(HUGE),
    "nested groups": b"\x0b" * HUGE,
    "nested messages": b"\x0a\x7f" * (HUGE // 2),
    "empty parts": b"\x0a" + b"\xc0\x9a\x0c" + b"\x12\x00" * (HUGE // 2),
    "positions": b"\x12" + b"\xc0\x9a\x0c" + b"\x12" + b"\xbc\x9a\x0c" + b"\x01" * (HUGE - 4),
    "empty strings": b"\x3a\x00" * (HUGE // 2),
    "JSON": b"[" * HUGE,
}


def peak_of(target: Target, raw: bytes) -> int:
    tracemalloc.start()
    try:
        refused(target, raw)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded_by_what_was_received(by_name: dict[str, Target], name: str) -> None:
    rng, target = random.Random(f"memory {name}"), by_name[name]
    lies = [*BOMBS.values(), *(mutated(rng, target) for _ in range(SHORT))]
    for raw in lies:
        assert peak_of(target, raw) <= BYTES_AT_LEAST + BYTES_FOR_A_BYTE * len(raw)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_messages(by_name: dict[str, Target]) -> None:
    seed = int(os.environ.get("SEALORA_FUZZ_SEED", secrets.randbits(32)))
    print(f"SEALORA_FUZZ_SEED={seed}")
    rng = random.Random(seed)
    every = list(by_name.values())
    refusals = 0
    for _ in range(SOAK):
        target = rng.choice(every)
        refusals += refused(target, mutated(rng, target))
    assert SOAK // 4 < refusals < SOAK

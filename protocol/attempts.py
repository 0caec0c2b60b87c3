"""What a site must remember of its attempts, whatever happens to its process: counters and promises.

The rules are here, the storage is the caller's: a log is made from the records written so far and
appends each new one through `append`, which must have it on disk before it returns, for what the
record allows is done only afterwards. Each record's hash covers the one before, and the head of the
chain goes under the site's signature, so that peers notice a site restored from an old copy.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import KEY_BYTES, pack, verify
from sealora.protocol.messages import Header, Work

RECORD = "sealora/v1/attempt-log"
CLOSED = "sealora/v1/closed"


@dataclass(frozen=True)
class Head:
    """The number of records in a site's log or ledger and the hash that chains them."""

    count: int
    digest: bytes


NO_RECORDS = Head(0, bytes(32))
"""The head of an empty log, and of a site that keeps no ledger."""


@dataclass(frozen=True)
class Closure:
    """A member's signed promise that it will never open a session."""

    session: bytes
    public: bytes
    signature: bytes


@dataclass(frozen=True)
class Contribution:
    """A masked vector that left the site: the session, the keys of its U1, and its threshold t."""

    session: bytes
    members: frozenset[bytes]
    threshold: int


@dataclass(frozen=True)
class Occasion:
    """What a masked vector was sent for."""

    plan: str
    run: str
    round: int
    model: str
    """Hashes and the run's name in hex."""

    @classmethod
    def of(cls, header: Header) -> "Occasion":
        """That of an attempt."""
        return cls(header.plan_hash.hex(), header.run.hex(), header.round, header.model_hash.hex())

    def meets(self, other: "Occasion") -> bool:
        """Whether at most one of two sums may be opened: of one run, and of one round or on one model.

        The work does not count, for training sends the metrics that an evaluation sends. Nor does the model
        within a round, for a coordinator can make another out of it by changing a bit.
        """
        return self.run == other.run and (self.round == other.round or self.model == other.model)


def in_memory(record: bytes) -> None:
    """Keeps records only as long as the process lives: for simulations and tests."""


class AttemptLog:
    """A site's counters and statements over all runs.

    Every method that writes raises ProtocolError, without writing, where the rule forbids it.
    """

    def __init__(self, records: Iterable[bytes] = (), append: Callable[[bytes], None] = in_memory) -> None:
        self.head = NO_RECORDS
        self._last: dict[tuple[str, int], tuple[int, int]] = {}
        self._entered: Counter[tuple[str, int]] = Counter()
        self._contributions: list[tuple[Occasion, Contribution]] = []
        self._statements: dict[str, str] = {}
        self._transcripts: dict[tuple[str, int, int, int], str] = {}
        self._released: set[str] = set()
        self._closed: set[str] = set()
        self._peers: dict[str, int] = {}
        self._append = append
        for record in records:
            self._apply(record)

    def restore(self, record: bytes) -> None:
        """Take in a record that was found to be on disk though its writing failed."""
        self._apply(record)

    def begin(self, header: Header) -> None:
        """Enter an attempt. Raises "replayed" unless (round, attempt) exceeds the run's last of that work."""
        counter = (header.round, header.attempt)
        if counter <= self._last.get((header.run.hex(), header.work), (0, 0)):
            raise ProtocolError("replayed", f"attempt {counter} of this run was entered here before")
        self._write(
            kind="begin",
            plan=header.plan_hash.hex(),
            run=header.run.hex(),
            work=int(header.work),
            counter=counter,
        )

    def entered(self, header: Header) -> int:
        """How many attempts of the round with the header's number were entered, in all runs of its plan."""
        return self._entered[header.plan_hash.hex(), header.round]

    def contribute(self, header: Header, contribution: Contribution) -> None:
        """Write that a masked vector is about to leave, which is already release."""
        self._write(
            kind="contribute",
            **vars(Occasion.of(header)),
            session=contribution.session.hex(),
            members=b"".join(sorted(contribution.members)).hex(),
            threshold=contribution.threshold,
        )

    def contributions(self, header: Header) -> tuple[Contribution, ...]:
        """What left the site in the same round of the same run, or on the same model in that run."""
        here = Occasion.of(header)
        return tuple(contribution for occasion, contribution in self._contributions if occasion.meets(here))

    def runs(self, plan_hash: bytes) -> Collection[bytes]:
        """The runs of a plan in which something left the site."""
        plan = plan_hash.hex()
        return {bytes.fromhex(occasion.run) for occasion, _ in self._contributions if occasion.plan == plan}

    def state(self, header: Header, session: bytes, statement: bytes) -> None:
        """Commit to the one statement on a session. Raises "equivocation" for a second one."""
        if self._statements.get(session.hex(), statement.hex()) != statement.hex():
            raise ProtocolError("equivocation", "another set of survivors was confirmed for this session")
        self._write(
            kind="state",
            session=session.hex(),
            statement=statement.hex(),
            attempt=(header.run.hex(), int(header.work), header.round, header.attempt),
        )

    def transcript(self, header: Header) -> bytes | None:
        """The statement made here on the header's completed attempt; None if there is none."""
        statement = self._transcripts.get((header.run.hex(), Work.TRAIN, *header.completed))
        return None if statement is None else bytes.fromhex(statement)

    def release(self, session: bytes) -> None:
        """Allow shares to leave. Raises "closed" if the site promised not to, "released" if they have."""
        if session.hex() in self._closed:
            raise ProtocolError("closed", "this session was closed for good")
        if session.hex() in self._released:
            raise ProtocolError("released", "the shares of this session have left before")
        self._write(kind="release", session=session.hex())

    def close(self, session: bytes) -> bool:
        """Promise never to release shares; False if they have left already."""
        if session.hex() in self._released:
            return False
        if session.hex() not in self._closed:
            self._write(kind="close", session=session.hex())
        return True

    def observe(self, heads: Mapping[bytes, int]) -> None:
        """Note peers' record counts by key. Raises "restored" unless each exceeds the last seen."""
        for public, count in heads.items():
            if count <= self._peers.get(public.hex(), -1):
                raise ProtocolError("restored", f"the site with key {public.hex()[:16]} runs on an old copy")
        self._write(kind="observe", heads={public.hex(): count for public, count in heads.items()})

    def _write(self, **fields: object) -> None:
        record = json.dumps(fields, separators=(",", ":")).encode()
        self._append(record)
        self._apply(record)

    def _apply(self, record: bytes) -> None:
        """Bring the state up to a record, new or read back."""
        fields: dict[str, Any] = json.loads(record)
        match fields["kind"]:
            case "begin":
                round_, attempt = fields["counter"]
                self._last[fields["run"], fields["work"]] = (round_, attempt)
                self._entered[fields["plan"], round_] += 1
            case "contribute":
                self._apply_contribution(fields)
            case "state":
                run, work, round_, attempt = fields["attempt"]
                self._statements[fields["session"]] = fields["statement"]
                self._transcripts[run, work, round_, attempt] = fields["statement"]
            case "release":
                self._released.add(fields["session"])
            case "close":
                self._closed.add(fields["session"])
            case "observe":
                self._peers.update(fields["heads"])
        digest = hashlib.sha256(pack(RECORD, self.head.digest, record)).digest()
        self.head = Head(self.head.count + 1, digest)

    def _apply_contribution(self, fields: dict[str, Any]) -> None:
        joined = bytes.fromhex(fields["members"])
        members = frozenset(joined[i : i + KEY_BYTES] for i in range(0, len(joined), KEY_BYTES))
        contribution = Contribution(bytes.fromhex(fields["session"]), members, fields["threshold"])
        occasion = Occasion(fields["plan"], fields["run"], fields["round"], fields["model"])
        self._contributions.append((occasion, contribution))


def require_closed(
    contributions: Iterable[Contribution],
    closures: Iterable[Closure],
    check: Callable[..., None] = verify,
) -> None:
    """Raises ProtocolError("unclosed") unless t members of each session's U1 closed it.

    As 2t > n + c, no t members are then left to open it. `check` verifies as `keys.verify` does.
    Raises "forged" for a false signature.
    """
    offered = list(closures)
    for contribution in contributions:
        closers = {
            closure.public
            for closure in offered
            if closure.session == contribution.session and closure.public in contribution.members
        }
        for closure in offered:
            if closure.session == contribution.session and closure.public in closers:
                check(closure.public, closure.signature, CLOSED, closure.session)
        if len(closers) < contribution.threshold:
            raise ProtocolError(
                "unclosed",
                f"this site contributed to this round or model before; {len(closers)} of the "
                f"{contribution.threshold} sites needed have closed that session",
            )

"""Everything that the coordinator's half of a secure session knows, and its form on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from sealora.protocol import long_fields
from sealora.protocol import secure_messages_pb2 as wire
from sealora.protocol.agreement import Agreement, header_hash, session_name, statement
from sealora.protocol.attempts import Closure
from sealora.protocol.codec import Words
from sealora.protocol.errors import ProtocolError
from sealora.protocol.messages import Header
from sealora.protocol.secure_answers import Receipt, Shares
from sealora.protocol.secure_requests import Member, closure_from_wire, closure_to_wire

PHASES = ("train", "share", "mask", "check", "unmask")
ADVERTISE, SHARE, MASK, CHECK, UNMASK = range(len(PHASES))


@dataclass
class CoordinatorState:
    """Positions count the sites of U1. `words` is the sum of the masked vectors so far, then the sum."""

    header: bytes
    words: Words
    phase: int = 0
    finished: bool = False
    closures: dict[tuple[bytes, bytes], Closure] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    shares: dict[int, Shares] = field(default_factory=dict)
    receipts: dict[int, Receipt] = field(default_factory=dict)
    statements: dict[int, bytes] = field(default_factory=dict)
    releases: dict[int, bytes] = field(default_factory=dict)
    disputes: set[tuple[str, str]] = field(default_factory=set)
    culprits: set[str] = field(default_factory=set)

    @staticmethod
    def begin(header: bytes) -> "CoordinatorState":
        """Nothing has been answered yet. Raises ProtocolError("malformed") for other bytes than a header."""
        return CoordinatorState(header, np.zeros(Header.parse(header).words, dtype=np.uint64))

    @cached_property
    def about(self) -> Header:
        """The header as a value."""
        return Header.parse(self.header)

    @cached_property
    def header_hash(self) -> bytes:
        """H(header)."""
        return header_hash(self.header)

    @cached_property
    def agreement(self) -> Agreement:
        """The session, fixed when the first phase closes. Raises RuntimeError before."""
        if self.phase == ADVERTISE:
            raise RuntimeError("the members of the session are not known yet")
        members = tuple(member for _, member in sorted(self.members.items()))
        return Agreement(self.about, session_name(self.header, members), members)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each member stands in U1."""
        return {site: position for position, site in enumerate(self.agreement.sites)}

    @property
    def sharers(self) -> tuple[int, ...]:
        """U2, once its phase has closed."""
        return tuple(sorted(self.shares))

    @property
    def survivors(self) -> tuple[int, ...]:
        """U3, once its phase has closed."""
        return tuple(sorted(self.receipts))

    @property
    def transcript(self) -> bytes:
        """The statement on U2 and U3, once U3 is fixed."""
        return statement(self.agreement.name, self.sharers, self.survivors)

    @property
    def answers(self) -> Mapping[Any, object]:
        """The answers to the open phase, by site in the first and by position in the others."""
        return self._phases[self.phase]

    @property
    def answers_before(self) -> Mapping[Any, object]:
        """The answers to the phase before: those who gave them are asked in the open one."""
        return self._phases[self.phase - 1]

    @property
    def _phases(self) -> tuple[Mapping[Any, object], ...]:
        return self.members, self.shares, self.receipts, self.statements, self.releases

    def forget_sealed(self) -> None:
        """Drop the sealed shares, once delivered; the commitments stay."""
        self.shares = {position: replace(shares, sealed=b"") for position, shares in self.shares.items()}

    def finish(self) -> None:
        """The sum is open: what opened it is dropped."""
        self.finished = True
        self.releases = {}

    def serialise(self) -> bytes:
        """The bytes that `parse` reads: `words` come last, and only when something was added to them."""
        rest = wire.CoordinatorState(
            phase=self.phase,
            finished=self.finished,
            header=self.header,
            closures=[closure_to_wire(closure) for closure in self.closures.values()],
            members=[member.to_wire() for _, member in sorted(self.members.items())],
            shares={position: shares.to_wire() for position, shares in self.shares.items()},
            receipts={position: receipt.to_wire() for position, receipt in self.receipts.items()},
            statements=self.statements,
            releases=self.releases,
            disputes=[wire.Dispute(one=one, other=other) for one, other in sorted(self.disputes)],
            culprits=sorted(self.culprits),
        ).SerializeToString(deterministic=True)
        words = self.words.astype("<u8", copy=False).data if self.receipts else b""
        return b"".join((rest, *long_fields.field(wire.CoordinatorState.WORDS_FIELD_NUMBER, words)))

    @staticmethod
    def parse(raw: bytes) -> "CoordinatorState":
        """Raises ProtocolError("malformed") for bytes that `serialise` did not write."""
        message = wire.CoordinatorState()
        try:
            message.ParseFromString(raw)
        except DecodeError:
            raise ProtocolError("malformed", "the saved session cannot be read") from None
        if message.phase >= len(PHASES):
            raise ProtocolError("malformed", "the saved session is in an unknown phase")
        state, words = CoordinatorState.begin(message.header), message.words
        if len(words) not in (0, state.words.nbytes):
            raise ProtocolError("malformed", "the saved session's sum is not of its header's dimension")
        if words:
            state.words = np.frombuffer(words, dtype="<u8").astype(np.uint64)
        state.phase, state.finished = message.phase, message.finished
        closures = [closure_from_wire(closure) for closure in message.closures]
        state.closures = {(closure.session, closure.public): closure for closure in closures}
        state.members = {member.site: Member.from_wire(member) for member in message.members}
        state.shares = {position: Shares.from_wire(shares) for position, shares in message.shares.items()}
        state.receipts = {position: Receipt.from_wire(kept) for position, kept in message.receipts.items()}
        state.statements = dict(message.statements)
        state.releases = dict(message.releases)
        state.disputes = {(dispute.one, dispute.other) for dispute in message.disputes}
        state.culprits = set(message.culprits)
        return state

"""The coordinator's half of a secure session: relays, adds masked vectors as they come, and unmasks.

It follows the protocol and checks what it can (`intake`), so that an honest run survives faulty
sites; what protects the sites from it stands in `secure_site`. Memory is one vector, whatever the
number of sites. Its whole state is `to_bytes`, which `save` gets at the end of each phase, before the
next one's requests can be read: after a crash it resumes the same session with the same U2 and U3.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sealora.protocol import secure_messages
from sealora.protocol.agreement import Agreement
from sealora.protocol.attempts import Closure
from sealora.protocol.coordinator_state import ADVERTISE, CHECK, MASK, PHASES, SHARE, UNMASK, CoordinatorState
from sealora.protocol.errors import AttemptFailed, AttemptPending, ProtocolError
from sealora.protocol.graph import shape
from sealora.protocol.heads import HeadBook
from sealora.protocol.intake import Intake
from sealora.protocol.long_fields import Bytes
from sealora.protocol.masks import apply_masks
from sealora.protocol.messages import Header
from sealora.protocol.roster import Roster
from sealora.protocol.secure_fields import SEALED_BYTES
from sealora.protocol.secure_requests import Adverts, Deliveries, Signers, Survivors
from sealora.protocol.session import Sum
from sealora.protocol.thresholds import floor, threshold
from sealora.protocol.unmasking import Unmasking

NAMED = 5
"""Sites that an error names for each reason."""


class SecureCoordinatorHalf:
    """Implements `session.CoordinatorHalf`.

    Parameters: the header's bytes as they travel; the roster in force; `closures` gathered in
    earlier attempts; `save` gets the state at the end of each phase; `threads` for unmasking; `heads` is
    what the sites signed in the sessions before.
    """

    def __init__(
        self,
        header: bytes,
        roster: Roster,
        closures: Iterable[Closure] = (),
        save: Callable[[bytes], None] | None = None,
        threads: int = 1,
        heads: HeadBook | None = None,
    ) -> None:
        self._state = CoordinatorState.begin(header)
        self._state.closures.update(
            {(kept.session, kept.public): kept for kept in closures if kept.session in self.header.abandoned}
        )
        self._intake = Intake(self._state, roster, heads if heads is not None else HeadBook())
        self._save = save
        self._threads = threads

    @staticmethod
    def from_bytes(
        raw: bytes,
        roster: Roster,
        save: Callable[[bytes], None] | None = None,
        threads: int = 1,
        heads: HeadBook | None = None,
    ) -> "SecureCoordinatorHalf":
        """The half whose state was saved. Raises ProtocolError("malformed") for other bytes."""
        state = CoordinatorState.parse(raw)
        half = SecureCoordinatorHalf(state.header, roster, save=save, threads=threads)
        half._state = state
        half._intake = Intake(state, roster, heads if heads is not None else HeadBook())
        return half

    def to_bytes(self) -> bytes:
        """The whole state. It contains no site's secret until R4, and the sum once unmasked."""
        return self._state.serialise()

    @property
    def header(self) -> Header:
        """What the attempt is about."""
        return self._state.about

    @property
    def phase(self) -> str:
        """Name of the open phase."""
        return PHASES[self._state.phase]

    @property
    def incomplete(self) -> bool:
        """Whether shares have left, too few to open the session, and others may still come."""
        return self._may_open() and not self._openable()

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
        return self._state.transcript

    @property
    def adversary(self) -> str:
        """Against whom the session is secure: for every report. A forecast until its members are known."""
        if self._state.phase > ADVERTISE:
            return self._state.agreement.shape.adversary
        sites, colluders = len(self.header.cohort), self.header.colluders
        least = floor(sites, colluders, self.header.n_min)
        return shape(sites, colluders, threshold(sites, colluders), least).adversary

    @property
    def abandoned(self) -> tuple[bytes, ...]:
        """Sessions that the header of another attempt of this round or on this model has to abandon."""
        opened = self._state.phase >= MASK and not self._state.finished
        return (*self.header.abandoned, *((self._state.agreement.name,) if opened else ()))

    @property
    def closable(self) -> bool:
        """Whether enough members can still promise never to open the session: those that released cannot."""
        state = self._state
        if state.finished or state.phase < MASK:
            return not state.finished
        return len(state.members) - len(state.releases) >= state.agreement.threshold

    @property
    def closures(self) -> tuple[Closure, ...]:
        """Closures gathered so far, for the half of another attempt of this round or on this model."""
        return tuple(self._state.closures.values())

    def requests(self) -> Mapping[str, bytes]:
        """The open phase's messages for the sites that have not answered it, the same bytes each time."""
        state = self._state
        if state.finished or state.phase == ADVERTISE:
            return {}
        if state.phase == MASK:
            return self._deliveries(self._awaited())
        return dict.fromkeys(self._awaited(), secure_messages.request(self._announcement()))

    def receive(self, site: str, message: Bytes) -> None:
        """Take a site's answer to the open phase, or its signed abort, after which it is out.

        Raises: ProtocolError; but for "unexpected" the site then counts as a culprit.
        """
        if not self._intake.expects(site):
            raise ProtocolError("unexpected", f"{site} is not expected to answer")
        try:
            self._intake.take(site, message)
        except ProtocolError:
            self._state.culprits.add(site)
            raise

    def leave(self, site: str, reason: str) -> None:
        """Note that a site has refused: its half is gone, and it takes no further part."""
        self._intake.left[site] = reason

    def advance(self) -> None:
        """Close the open phase and save.

        Raises AttemptFailed where too few answered; AttemptPending where they are too few to open the
        session, but those that were not heard may yet answer.
        """
        state = self._state
        if state.finished:
            return
        self._require_answers()
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
        sites = self._state.agreement.sites
        return Sum(self._state.words, tuple(sites[position] for position in self._state.survivors))

    def _awaited(self) -> list[str]:
        """Sites to which the open phase's request goes, but for those that have answered it."""
        return [site for site in self.header.cohort if self._intake.expects(site)]

    def _announcement(self) -> Adverts | Survivors | Signers:
        """The request of the open phase, where it is the same for all sites."""
        state = self._state
        if state.phase == SHARE:
            return Adverts(state.header_hash, state.agreement.members, self.closures)
        name = state.agreement.name
        if state.phase == CHECK:
            survivors = state.survivors
            return Survivors(name, survivors, tuple(state.receipts[site] for site in survivors))
        # More than t would only have to be verified.
        signers = tuple(sorted(state.statements))[: state.agreement.threshold]
        return Signers(name, signers, tuple(state.statements[site] for site in signers))

    def _deliveries(self, awaited: Iterable[str]) -> dict[str, bytes]:
        """For each site the shares that the members of U2 sealed for it."""
        agreement, shares = self._state.agreement, self._state.shares
        sharers = self._state.sharers
        places = {
            dealer: {peer: place for place, peer in enumerate(agreement.peers(dealer, agreement.everyone))}
            for dealer in sharers
        }
        requests = {}
        for site in awaited:
            own = self._state.positions[site]
            sealed = b"".join(
                shares[dealer].sealed[places[dealer][own] * SEALED_BYTES :][:SEALED_BYTES]
                for dealer in agreement.peers(own, places)
            )
            requests[site] = secure_messages.request(Deliveries(agreement.name, sharers, sealed))
        return requests

    def _require_answers(self) -> None:
        """Raises AttemptFailed or AttemptPending where too few have answered for the open phase to close."""
        answered, needed = len(self._state.answers), self._needed()
        if answered < needed:
            raise self._failure(f"{answered} sites finished the phase “{self.phase}”, {needed} are needed.")

    def _needed(self) -> int:
        """Fewest answers with which the open phase may close."""
        if self._state.phase == ADVERTISE:
            present = Agreement(self.header, b"", tuple(self._state.members.values()))
            return max(present.floor, self.header.quorum)
        if self._state.phase in (SHARE, MASK):
            return max(self._state.agreement.floor, self.header.quorum)
        return self._state.agreement.threshold

    def _openable(self) -> bool:
        """Whether t members have released, and of each secret as many as it takes."""
        state = self._state
        agreement, released = state.agreement, state.releases.keys()
        return len(released) >= agreement.threshold and all(
            len(released & set(agreement.holders[dealer])) >= agreement.shape.threshold
            for dealer in state.shares
        )

    def _may_open(self) -> bool:
        """Whether shares are being released, and those that have not come may still be enough."""
        state, awaited = self._state, self._awaited()
        if state.phase != UNMASK or not awaited:
            return False
        return len(state.releases) + len(awaited) >= state.agreement.threshold

    def _unmask(self) -> None:
        state = self._state
        commitments = {position: shares.commitment for position, shares in state.shares.items()}
        unmasking = Unmasking(state.agreement, state.sharers, state.survivors, commitments, state.releases)
        try:
            apply_masks(state.words, *unmasking.masks(), self._threads)
        except AttemptFailed as failure:
            raise self._failure(failure.message, failure.culprits) from None
        finally:
            sites = state.agreement.sites
            state.disputes.update((sites[one], sites[other]) for one, other in unmasking.disputes)
        state.finish()

    def _failure(
        self, message: str, culprits: frozenset[str] = frozenset()
    ) -> AttemptFailed | AttemptPending:
        """Pending as long as the session, which some have begun to open, can still be opened."""
        if self._may_open():
            silent = _named(self._awaited())
            return AttemptPending(
                f"the sum of round {self.header.round} is not open yet: {message} No answer from {silent}.",
                "Bring them back, if possible without a restart, and resume: they are asked again.",
            )
        return AttemptFailed(message + _reasons(self._intake.left), culprits | self.culprits)


def _reasons(left: Mapping[str, str]) -> str:
    """A sentence for each of the first reasons that sites gave, with those that gave it."""
    sites: dict[str, list[str]] = {}
    for site, reason in sorted(left.items()):
        sites.setdefault(reason, []).append(site)
    told = "".join(f" {_named(names)}: {reason}." for reason, names in list(sites.items())[:NAMED])
    return told + (f" {len(sites) - NAMED} more reasons." if len(sites) > NAMED else "")


def _named(sites: Sequence[str]) -> str:
    return ", ".join(sites[:NAMED]) + (" …" if len(sites) > NAMED else "")

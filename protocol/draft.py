"""A revision of the roster that is being signed: what it would change, who may sign, and who has."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import verify
from sealora.protocol.roster import MAX_ROSTER_BYTES, REVISION, Revision, Roster, check_members, quorum


@dataclass(frozen=True)
class Changes:
    """What one revision differs in from another, as names of sites."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    rekeyed: tuple[str, ...]
    """Sites that stay, with another identity key."""
    coordinator: bool
    """Whether another key would sign headers."""
    colluders: int | None
    """The c before, if it is another: it decides how many signatures the revision after this one needs."""


@dataclass(frozen=True)
class Draft:
    """A revision and the roster that it is to follow; None where it is to be the first.

    Raises: ProtocolError on construction: "broken_chain" if it does not follow, "forged" for a false
    signature, "duplicate" or "malformed" for impossible members.
    """

    before: Roster | None
    revision: Revision

    def __post_init__(self) -> None:
        last = self.before.revisions[-1] if self.before is not None else None
        expected = (last.serial + 1, last.hash) if last is not None else (0, bytes(32))
        if (self.revision.serial, self.revision.previous) != expected:
            raise ProtocolError("broken_chain", "the proposed revision does not follow the roster in force")
        check_members(self.revision)
        for site in self.signers:
            verify(self.electorate[site], self.revision.signatures[site], REVISION, self.revision.hash)

    @property
    def electorate(self) -> Mapping[str, bytes]:
        """Who may sign: the members before; all of its own for the first revision."""
        return self.before.members if self.before is not None else self.revision.members

    @property
    def needed(self) -> int:
        """Signatures that put it in force."""
        return quorum(self.before.revisions[-1]) if self.before is not None else len(self.revision.members)

    @property
    def signers(self) -> tuple[str, ...]:
        """Members of the electorate that signed, sorted."""
        return tuple(sorted(set(self.revision.signatures) & set(self.electorate)))

    @property
    def in_force(self) -> Roster | None:
        """The roster with this revision, once enough have signed; None before."""
        if len(self.signers) < self.needed:
            return None
        return Roster((*self._revisions, self.revision))

    def since(self, pin: bytes) -> tuple[Revision, ...]:
        """The revisions after the pinned one, the draft last. Raises ProtocolError("rolled_back")."""
        if self.before is None:
            raise ProtocolError(
                "rolled_back", "the draft does not continue the roster that was approved here"
            )
        return (*self.before.since(pin), self.revision)

    def with_signature(self, site: str, signature: bytes) -> "Draft":
        """The draft with one more signature.

        Raises: ProtocolError("stranger") for a site that may not sign, "forged" for a false signature.
        """
        if site not in self.electorate:
            raise ProtocolError("stranger", f"{site} is not among those who sign this revision")
        signatures = {**self.revision.signatures, site: signature}
        return replace(self, revision=replace(self.revision, signatures=signatures))

    def serialise(self) -> bytes:
        """Lines of JSON as a roster's, the draft last."""
        return b"".join(revision.serialise() for revision in (*self._revisions, self.revision))

    @staticmethod
    def parse(raw: bytes) -> "Draft":
        """Raises ProtocolError unless the bytes are a roster in force and a revision after it."""
        if len(raw) > MAX_ROSTER_BYTES:
            raise ProtocolError("malformed", "the draft is too long")
        before, _, last = raw.rstrip(b"\r\n").rpartition(b"\n")
        return Draft(Roster.parse(before) if before else None, Revision.parse(last))

    @property
    def _revisions(self) -> tuple[Revision, ...]:
        return self.before.revisions if self.before is not None else ()


def changes(before: Revision | None, after: Revision) -> Changes:
    """What `after` changes; against nothing, every member is added."""
    members = before.members if before is not None else {}
    return Changes(
        added=tuple(sorted(after.members.keys() - members.keys())),
        removed=tuple(sorted(members.keys() - after.members.keys())),
        rekeyed=tuple(
            sorted(s for s in members.keys() & after.members.keys() if members[s] != after.members[s])
        ),
        coordinator=before is not None and before.coordinator != after.coordinator,
        colluders=before.colluders if before is not None and before.colluders != after.colluders else None,
    )

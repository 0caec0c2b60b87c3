"""The roster at the coordinator: proposed here, signed by the sites, in force by their quorum."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sealora.plan.durable import write_durably
from sealora.plan.received import judging, read_received
from sealora.protocol.draft import Draft
from sealora.protocol.enrolment import Approval
from sealora.protocol.errors import RunError, UsageError
from sealora.protocol.roster import MAX_ROSTER_BYTES, Revision, Roster, genesis
from sealora.server.federation_folder import FederationFolder, Stamp, stamp_of


@dataclass
class RosterBook:
    """The roster's files. A running coordinator calls `current` before each attempt."""

    folder: FederationFolder
    _seen: tuple[Stamp, Roster] | None = field(default=None, init=False)
    _reached: tuple[tuple[Roster, list[Stamp]], tuple[str, ...]] | None = field(default=None, init=False)

    def current(self) -> Roster:
        """The roster in force, read again when the file was replaced: no site waits for a restart.

        Raises: UsageError if there is none yet; RefusedError if it is not in order; RunError if it does
        not continue the one that was in force before.
        """
        path = self.folder.roster_path
        if not path.is_file():
            raise UsageError(
                f"{self.folder.card.name} has no roster in force.", "Run `sealora server roster propose`."
            )
        stamp = stamp_of(path)
        if self._seen is None or self._seen[0] != stamp:
            self._seen = stamp, self._read(self._seen[1] if self._seen is not None else None)
        return self._seen[1]

    def reachable(self) -> tuple[str, ...]:
        """Members whose key on the roster is enrolled: who was revoked is asked for nothing from now on.

        The link asks with each coming and going, so records are read again only when one was replaced.
        Raises as `current` does.
        """
        found = self.current(), self.folder.stamps()
        if self._reached is None or self._reached[0] != found:
            self._reached = found, self._enrolled(found[0])
        return self._reached[1]

    def _enrolled(self, roster: Roster) -> tuple[str, ...]:
        enrolled = {site.name: site.identity for site in self.folder.sites()}
        return tuple(name for name, key in sorted(roster.members.items()) if enrolled.get(name) == key.hex())

    def draft(self) -> Draft | None:
        """The revision that is being signed. Raises RefusedError, UsageError if it is not in order."""
        path = self.folder.draft_path
        if not path.is_file():
            return None
        with judging(path):
            draft = Draft.parse(read_received(path, MAX_ROSTER_BYTES))
        roster = self._in_force()
        # A crash may have left the file behind after its revision came into force.
        follows = draft.before.hash if draft.before is not None else None
        return draft if follows == (roster.hash if roster is not None else None) else None

    def propose(self, colluders: int | None) -> Draft:
        """A new draft: all enrolled sites, in place of any draft before.

        `colluders` is the c of the quorum that the revision after it will need; None keeps it, and a
        first revision takes a third of its members. Raises UsageError if nothing would change.
        """
        members = {site.name: bytes.fromhex(site.identity) for site in self.folder.sites() if site.identity}
        if not members:
            raise UsageError("no site is enrolled.", "Run `sealora server enrol REQUEST` first.")
        before = self._in_force()
        chosen = colluders if colluders is not None else self._colluders(before, len(members))
        if not 0 <= chosen < len(members):
            raise UsageError(
                f"{chosen} colluders among {len(members)} members leave no honest one.", "Choose fewer."
            )
        with judging("the draft"):
            draft = Draft(before, self._revision(before, members, chosen))
        known = self.draft()
        if known is not None and known.revision.hash == draft.revision.hash:
            return known  # with the signatures that it has
        write_durably(self.folder.draft_path, draft.serialise())
        self._log("roster proposed", draft.revision.hash)
        return draft

    def collect(self, approvals: list[Approval]) -> Draft:
        """Add signatures to the draft, and put it in force once they are enough.

        Raises: UsageError without a draft or for an approval of another revision; RefusedError for a
        false signature or a site that has no vote.
        """
        draft = self.draft()
        if draft is None:
            raise UsageError("no revision is being signed.", "Run `sealora server roster propose`.")
        for approval in approvals:
            if approval.revision != draft.revision.hash.hex():
                raise UsageError(
                    f"{approval.site} approved another revision than the one that is proposed.",
                    "Send the draft again.",
                )
            with judging(f"the approval of {approval.site}"):
                draft = draft.with_signature(approval.site, bytes.fromhex(approval.signature))
        roster = draft.in_force
        if roster is None:
            write_durably(self.folder.draft_path, draft.serialise())
            return draft
        write_durably(self.folder.roster_path, roster.serialise())
        self.folder.draft_path.unlink()
        self._log("roster in force", roster.hash)
        return draft

    def _revision(self, before: Roster | None, members: Mapping[str, bytes], colluders: int) -> Revision:
        """What is to follow. Raises UsageError if it would be the same again."""
        if before is None:
            return genesis(members, self.folder.public, colluders)
        last = before.revisions[-1]
        if (members, colluders) == (last.members, last.colluders):
            raise UsageError("the enrolled sites are those of the roster in force.", "Nothing to propose.")
        return replace(last.next(members), colluders=colluders)

    def _in_force(self) -> Roster | None:
        return self.current() if self.folder.roster_path.is_file() else None

    def _colluders(self, before: Roster | None, members: int) -> int:
        return members // 3 if before is None else min(before.revisions[-1].colluders, members - 1)

    def _read(self, before: Roster | None) -> Roster:
        with judging(self.folder.roster_path):
            roster = Roster.parse(read_received(self.folder.roster_path, MAX_ROSTER_BYTES))
        if before is not None and before.hash not in {revision.hash for revision in roster.revisions}:
            raise RunError(
                f"{self.folder.roster_path} does not continue the roster that was in force.",
                "Restore the roster that the sites signed last.",
            )
        return roster

    def _log(self, kind: str, revision: bytes) -> None:
        with self.folder.audit_log() as log:
            log.record(kind, "local", detail={"revision": revision.hex()})

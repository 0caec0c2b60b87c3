"""The roster as a site's operator approved it. The coordinator relays it; it never decides."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

from sealora.client.site_folder import SiteFolder
from sealora.plan.durable import locked, write_durably
from sealora.plan.received import judging, load_own, read_received
from sealora.protocol.draft import Draft
from sealora.protocol.enrolment import Approval, Key, dump
from sealora.protocol.errors import RefusedError, UsageError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import MAX_ROSTER_BYTES, Revision, Roster
from sealora.protocol.settings import Settings


class Approved(Settings):
    """What the operator said yes to: the revision in force here, and all that were ever approved."""

    format: Literal["sealora-approved-1"] = "sealora-approved-1"
    pinned: Key | None = None
    revisions: tuple[Key, ...] = ()


class PinnedRoster:
    """A site's roster files. Every change is on disk, and on the log, before it counts."""

    def __init__(self, folder: SiteFolder) -> None:
        self._folder = folder

    def current(self) -> Roster:
        """The roster up to the revision that is pinned. Raises UsageError if there is none."""
        pinned = self._approved().pinned
        if pinned is None:
            raise UsageError(
                f"{self._folder.name} has approved no roster that is in force.",
                "Run `sealora site roster accept ROSTER` with the roster that the coordinator sends.",
            )
        stored = self._stored()
        later = self._since(stored, bytes.fromhex(pinned))
        return Roster(stored.revisions[: len(stored.revisions) - len(later)])

    @property
    def pinned(self) -> Roster | None:
        """`current`, or None if nothing is pinned."""
        return None if self._approved().pinned is None else self.current()

    def examine(self, roster: Roster, coordinator: bytes) -> tuple[Revision, ...]:
        """The revisions that are new here.

        Raises: RefusedError if the roster is rolled back, of another coordinator, or has another key
        under this site's name.
        """
        pinned = self._approved().pinned
        later = roster.revisions if pinned is None else self._since(roster, bytes.fromhex(pinned))
        self._require_own(roster.members, roster.coordinator, coordinator)
        return later

    def accept(self, roster: Roster) -> None:
        """Pin the last revision of an examined roster: the operator has compared its words.

        Raises: RefusedError if another one was pinned meanwhile that it does not continue.
        """
        with self._alone():
            pinned = self._approved().pinned
            if pinned is not None:
                self._since(roster, bytes.fromhex(pinned))
            self._approve(roster.revisions[-1])
            self._store(roster, roster.hash)

    def sign(self, draft: Draft, identity: IdentityKey, coordinator: bytes) -> Approval:
        """Approve a draft; the promise is on disk before the signature is made.

        Raises: RefusedError as `examine` does; UsageError if this site has no vote on it.
        """
        self.examine_draft(draft, coordinator)
        if self._folder.name not in draft.electorate:
            raise UsageError(f"{self._folder.name} has no vote on this revision.", "Its members before have.")
        with self._alone():
            self._approve(draft.revision)
        return Approval.make(self._folder.name, identity, draft.revision)

    def examine_draft(self, draft: Draft, coordinator: bytes) -> None:
        """Raises: RefusedError if the draft does not continue the pinned roster, or as `examine` does."""
        pinned = self._approved().pinned
        if pinned is not None:
            with judging("the draft"):
                draft.since(bytes.fromhex(pinned))
        self._require_own(draft.revision.members, draft.revision.coordinator, coordinator)

    def follow(self, raw: bytes, coordinator: bytes) -> Roster | None:
        """Take a roster that the coordinator relays, as far as the operator has approved it.

        Returns: the roster in force here; None if nothing of it is approved yet.
        Raises: UsageError, RefusedError as `examine` does.
        """
        with judging("the roster"):
            roster = Roster.parse(raw)
        with self._alone():
            approved = {bytes.fromhex(revision) for revision in self._approved().revisions}
            # Whoever approved a revision saw all that changed since the one that is pinned.
            later = self.examine(roster, coordinator)
            known = [revision.hash for revision in later if revision.hash in approved]
            if known:
                self._store(roster, known[-1])
            return self.pinned

    def _alone(self) -> AbstractContextManager[None]:
        """The agent and an operator's command change these files one after the other."""
        return locked(self._folder.path / "roster.lock")

    def _approve(self, revision: Revision) -> None:
        before = self._approved()
        if revision.hash.hex() not in before.revisions:
            revisions = (*before.revisions, revision.hash.hex())
            write_durably(
                self._folder.approved_path, dump(before.model_copy(update={"revisions": revisions}))
            )
        self._log("roster approved", revision.hash)

    def _store(self, roster: Roster, pinned: bytes) -> None:
        # The pin must never name what is not in the file, so the file comes first.
        write_durably(self._folder.roster_path, roster.serialise())
        approved = self._approved().model_copy(update={"pinned": pinned.hex()})
        write_durably(self._folder.approved_path, dump(approved))
        self._log("roster pinned", pinned)

    def _log(self, kind: str, revision: bytes) -> None:
        with self._folder.audit_log() as log:
            log.record(kind, "local", detail={"revision": revision.hex()})

    def _approved(self) -> Approved:
        path = self._folder.approved_path
        return load_own(Approved, path) if path.is_file() else Approved()

    def _stored(self) -> Roster:
        with judging(self._folder.roster_path):
            return Roster.parse(read_received(self._folder.roster_path, MAX_ROSTER_BYTES))

    def _since(self, roster: Roster, pinned: bytes) -> tuple[Revision, ...]:
        with judging("the roster"):
            return roster.since(pinned)

    def _require_own(self, members: Mapping[str, bytes], named: bytes, coordinator: bytes) -> None:
        if named != coordinator:
            raise RefusedError("the roster names another coordinator than the bundle that was joined.")
        if members.get(self._folder.name, self._folder.public) != self._folder.public:
            raise RefusedError(
                f"the roster has another identity key under the name {self._folder.name}.",
                "Sign nothing, and tell the other sites: somebody may be taking this site's place.",
            )

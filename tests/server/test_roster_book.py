"""Rosters are proposed, signed and in force without anybody waiting for a restart."""

import pytest

from sealora.client import enrolment
from sealora.protocol.enrolment import Approval
from sealora.protocol.errors import RefusedError, RunError, UsageError
from sealora.protocol.messages import Header, Work
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server import authority
from sealora.server.federation_folder import FederationFolder
from sealora.server.roster_book import RosterBook
from sealora.server.sessions import SecureSessions


@pytest.fixture
def book(partners):
    return RosterBook(partners.federation)


def test_founders_sign_and_it_is_in_force(partners, book):
    sites = [partners.member(name) for name in ("ams", "ber", "cph", "dub")]
    draft = book.propose(None)
    assert (draft.revision.colluders, draft.needed) == (1, 4)
    approvals = partners.sign(draft, *sites)
    assert book.collect(approvals[:3]).in_force is None
    assert book.draft().signers == ("ams", "ber", "cph")
    with pytest.raises(UsageError, match="no roster in force"):
        book.current()
    assert book.collect(approvals[3:]).in_force == book.current()
    assert book.draft() is None


def test_proposing_again_keeps_the_signatures(partners, book):
    ams, ber = partners.member("ams"), partners.member("ber")
    book.collect(partners.sign(book.propose(0), ams))
    assert book.propose(0).signers == ("ams",)
    partners.member("cph")
    assert book.propose(0).signers == (), "another revision has none yet"
    assert ber.name in book.draft().revision.members


def test_records_are_read_again_only_when_one_was_replaced(partners, monkeypatch):
    partners.found("ams", "ber", "cph")
    book, read, sites = RosterBook(partners.federation), [], FederationFolder.sites
    monkeypatch.setattr(FederationFolder, "sites", lambda self: read.append(1) or sites(self))
    assert book.reachable() == book.reachable() == ("ams", "ber", "cph")
    assert len(read) == 1
    enrolled = partners.federation.site("ber")
    authority.revoke(partners.federation, "ber")
    assert book.reachable() == ("ams", "cph")
    partners.federation.save_site(enrolled)
    assert book.reachable() == ("ams", "ber", "cph")


def test_members_come_and_go_while_the_coordinator_runs(partners, book):
    ams, ber, _cph = partners.found("ams", "ber", "cph")
    running = RosterBook(partners.federation)
    before = running.current()
    assert running.current() is before, "read once"
    partners.member("dub")
    book.collect(partners.sign(book.propose(None), ams, ber))
    assert set(running.current().members) == {"ams", "ber", "cph", "dub"}
    authority.revoke(partners.federation, "cph")
    book.collect(partners.sign(book.propose(None), ams, ber, SimpleDub(partners).site))
    assert set(running.current().members) == {"ams", "ber", "dub"}
    assert running.current().revisions[:1] == before.revisions


class SimpleDub:
    """dub, which joined after the founders and follows the roster since."""

    def __init__(self, partners):
        from sealora.client.pinned_roster import PinnedRoster
        from sealora.client.site_folder import SiteFolder
        from sealora.protocol.roster import Roster

        self.site = SiteFolder.open(partners.folder / "dub")
        PinnedRoster(self.site).accept(Roster.parse(partners.federation.roster_path.read_bytes()))


def test_who_was_revoked_is_asked_for_nothing_more(partners, book, tmp_path):
    partners.found("ams", "ber", "cph")
    assert book.reachable() == ("ams", "ber", "cph")
    authority.revoke(partners.federation, "ber")
    assert book.reachable() == ("ams", "cph")
    # A new key under the old name is not the one that the members signed.
    partners.enrol(enrolment.create(tmp_path / "fresh", "ber", None))
    assert book.reachable() == ("ams", "cph")


def test_each_attempt_opens_under_the_roster_of_the_moment(partners, book):
    ams, ber, _cph = partners.found("ams", "ber", "cph")
    settings = SecureAggregationSettings(colluders=0)
    sessions = SecureSessions(partners.federation.identity(None), book.current, settings)
    header = Header(bytes(32), bytes(16), 1, 1, Work.TRAIN, bytes(32), ("ams", "ber", "cph"), 2, 1, 1)
    assert sessions.propose(header).roster_hash == book.current().hash
    partners.member("dub")
    RosterBook(partners.federation).collect(partners.sign(book.propose(None), ams, ber))
    assert sessions.propose(header).roster_hash == book.current().hash
    assert "dub" in book.current().members


def test_a_roster_that_goes_back_stops_the_coordinator(partners, book):
    ams, ber, _cph = partners.found("ams", "ber", "cph")
    old = partners.federation.roster_path.read_bytes()
    partners.member("dub")
    book.collect(partners.sign(book.propose(None), ams, ber))
    book.current()
    partners.federation.roster_path.write_bytes(old)
    with pytest.raises(RunError, match="does not continue the roster that was in force"):
        book.current()


def test_a_roster_file_that_somebody_edited(partners, book):
    partners.found("ams", "ber", "cph")
    path = partners.federation.roster_path
    path.write_bytes(path.read_bytes().replace(b'"colluders":0', b'"colluders":1'))
    with pytest.raises(RefusedError, match="signature"):
        RosterBook(partners.federation).current()


def test_there_must_be_somebody_and_something_to_propose(partners, book):
    with pytest.raises(UsageError, match="no site is enrolled"):
        book.propose(None)
    partners.found("ams", "ber", "cph")
    with pytest.raises(UsageError, match="those of the roster in force"):
        book.propose(None)
    with pytest.raises(UsageError, match="3 colluders among 3 members"):
        book.propose(3)
    assert book.propose(1).revision.colluders == 1


def test_approvals_that_do_not_count(partners, book):
    ams, ber = partners.member("ams"), partners.member("ber")
    with pytest.raises(UsageError, match="no revision is being signed"):
        book.collect([])
    first = partners.sign(book.propose(0), ams)[0]
    cph = partners.member("cph")
    draft = book.propose(0)
    with pytest.raises(UsageError, match="ams approved another revision"):
        book.collect([first])
    good = partners.sign(draft, ber)[0]
    with pytest.raises(RefusedError, match="not that of the expected key"):
        book.collect([good.model_copy(update={"site": "cph"})])
    with pytest.raises(RefusedError, match="edi is not among those who sign"):
        book.collect([good.model_copy(update={"site": "edi"})])
    assert book.draft().signers == ()
    assert cph.name in draft.electorate


def test_new_members_do_not_vote_themselves_in(partners, book):
    partners.found("ams", "ber", "cph")
    dub = partners.member("dub")
    draft = book.propose(None)
    own = Approval.make("dub", dub.identity(None), draft.revision)
    with pytest.raises(RefusedError, match="dub is not among those who sign"):
        book.collect([own])


def test_a_crash_between_roster_and_draft_leaves_no_draft(partners, book):
    ams, ber = partners.member("ams"), partners.member("ber")
    draft = book.propose(0)
    book.collect(partners.sign(draft, ams, ber))
    partners.federation.draft_path.write_bytes(draft.serialise())
    assert book.draft() is None

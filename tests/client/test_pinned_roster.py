"""A site follows what its operator approved, forwards only, and never with another key in its own name."""

from dataclasses import replace

import pytest

from sealora.client.membership import SecureSessionsOfSite
from sealora.client.pinned_roster import PinnedRoster
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.draft import Draft
from sealora.protocol.errors import RefusedError, UsageError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Open
from sealora.protocol.roster import Roster, genesis
from sealora.server.roster_book import RosterBook
from sealora.simulation.toy import toy_plan


def raw(partners):
    return partners.federation.roster_path.read_bytes()


def enlarge(partners, *signers, name="fra"):
    """A revision with one more site, signed by some."""
    partners.member(name)
    book = RosterBook(partners.federation)
    return book.collect(partners.sign(book.propose(None), *signers))


def test_founders_follow_what_they_signed(partners):
    sites = partners.found("ams", "ber", "cph")
    for site in sites:
        assert PinnedRoster(site).current() == Roster.parse(raw(partners))


def test_nothing_is_followed_before_it_is_approved(partners):
    ams, _ber, _cph = partners.found("ams", "ber", "cph")
    late = partners.member("dub")
    late.roster_path.unlink()
    late.approved_path.unlink()
    book = PinnedRoster(late)
    assert book.follow(raw(partners), partners.federation.public) is None
    with pytest.raises(UsageError, match="has approved no roster"):
        book.current()
    book.accept(Roster.parse(raw(partners)))
    assert book.current() == PinnedRoster(ams).current()


def test_a_change_is_followed_by_those_who_signed_it_and_waits_at_others(partners):
    ams, ber, cph = partners.found("ams", "ber", "cph")
    before = PinnedRoster(cph).current()
    assert enlarge(partners, ams, ber).in_force is not None
    public = partners.federation.public
    assert "fra" in PinnedRoster(ams).follow(raw(partners), public).members
    assert PinnedRoster(cph).follow(raw(partners), public) == before
    later = PinnedRoster(cph).examine(Roster.parse(raw(partners)), public)
    assert [revision.serial for revision in later] == [1]
    PinnedRoster(cph).accept(Roster.parse(raw(partners)))
    assert "fra" in PinnedRoster(cph).current().members


def test_a_change_without_quorum_is_refused(partners):
    ams, _ber, _cph = partners.found("ams", "ber", "cph")
    assert enlarge(partners, ams).in_force is None
    lines = partners.federation.draft_path.read_bytes()
    with pytest.raises(RefusedError, match=r"revision 1 has 1 of 2 signatures.*Wait for more members"):
        PinnedRoster(ams).follow(lines, partners.federation.public)


def test_a_rollback_is_refused_everywhere(partners):
    ams, ber, _cph = partners.found("ams", "ber", "cph")
    old = raw(partners)
    enlarge(partners, ams, ber)
    book, public = PinnedRoster(ams), partners.federation.public
    book.follow(raw(partners), public)
    with pytest.raises(RefusedError, match="does not continue the one that was approved here"):
        book.follow(old, public)
    with pytest.raises(RefusedError, match="does not continue"):
        book.examine(Roster.parse(old), public)
    stale = Draft(Roster.parse(old), Roster.parse(old).revisions[-1].next(Roster.parse(old).members))
    with pytest.raises(RefusedError, match="does not continue"):
        book.examine_draft(stale, public)
    assert "fra" in book.current().members


def test_a_file_exchanged_for_an_older_one_is_noticed(partners):
    ams, ber, _cph = partners.found("ams", "ber", "cph")
    old = raw(partners)
    enlarge(partners, ams, ber)
    PinnedRoster(ams).follow(raw(partners), partners.federation.public)
    ams.roster_path.write_bytes(old)
    with pytest.raises(RefusedError, match="does not continue"):
        PinnedRoster(ams).current()


def test_a_forged_roster_is_refused(partners):
    ams, _ber, _cph = partners.found("ams", "ber", "cph")
    forged = raw(partners).replace(b'"colluders":0', b'"colluders":1')
    with pytest.raises(RefusedError, match="signature"):
        PinnedRoster(ams).follow(forged, partners.federation.public)
    with pytest.raises(UsageError, match="not a revision"):
        PinnedRoster(ams).follow(b"{}", partners.federation.public)


def test_another_key_in_this_sites_name_is_an_alarm(partners):
    ams, ber = partners.member("ams"), partners.member("ber")
    members = {"ams": IdentityKey.generate().public, "ber": ber.public}
    draft = Draft(None, genesis(members, partners.federation.public, 0))
    with pytest.raises(RefusedError, match="another identity key under the name ams"):
        PinnedRoster(ams).sign(draft, ams.identity(None), partners.federation.public)
    assert not ams.approved_path.exists()


def test_another_coordinator_is_refused(partners):
    ams, ber = partners.member("ams"), partners.member("ber")
    draft = Draft(None, genesis({"ams": ams.public, "ber": ber.public}, IdentityKey.generate().public, 0))
    with pytest.raises(RefusedError, match="another coordinator"):
        PinnedRoster(ams).sign(draft, ams.identity(None), partners.federation.public)


def test_who_has_no_vote_signs_nothing(partners):
    _ams, _ber, _cph = partners.found("ams", "ber", "cph")
    late = partners.member("dub")
    draft = RosterBook(partners.federation).propose(None)
    with pytest.raises(UsageError, match="dub has no vote"):
        PinnedRoster(late).sign(draft, late.identity(None), partners.federation.public)


def test_the_promise_is_on_disk_before_the_signature(partners, monkeypatch):
    ams, _ber = partners.member("ams"), partners.member("ber")
    draft = RosterBook(partners.federation).propose(0)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sealora.client.pinned_roster.write_durably", fail)
    monkeypatch.setattr("sealora.protocol.enrolment.Approval.make", lambda *_: pytest.fail("it signed"))
    with pytest.raises(OSError, match="No space"):
        PinnedRoster(ams).sign(draft, ams.identity(None), partners.federation.public)


def test_secure_sessions_go_by_the_roster_and_the_floors_of_the_moment(partners):
    ams, ber, _cph = partners.found("ams", "ber", "cph")
    sessions = SecureSessionsOfSite(ams, ams.identity(None), AttemptLog(), toy_plan())
    before = sessions.membership()
    assert (before.site, before.roster, before.floors.n_min) == ("ams", PinnedRoster(ams).current(), 3)
    text = ams.settings_path.read_text().replace("minimum_contributors = 3", "minimum_contributors = 9")
    ams.settings_path.write_text(text)
    enlarge(partners, ams, ber)
    PinnedRoster(ams).follow(raw(partners), partners.federation.public)
    after = sessions.membership()
    assert (after.floors.n_min, len(after.roster.members)) == (9, 4)
    assert replace(after, roster=before.roster, floors=before.floors) == before


@pytest.mark.parametrize("damaged", ["roster_path", "settings_path"])
def test_what_is_wrong_with_roster_or_policy_stays_here(partners, damaged, caplog):
    ams = partners.found("ams", "ber", "cph")[0]
    getattr(ams, damaged).write_text("damaged")
    sessions = SecureSessionsOfSite(ams, ams.identity(None), AttemptLog(), toy_plan())
    with pytest.raises(RefusedError) as caught:
        sessions(Open(b"", b"", ()))
    assert str(caught.value) == "this site's roster or policy cannot be used."
    assert str(getattr(ams, damaged)) in caplog.text, "the operator sees it"

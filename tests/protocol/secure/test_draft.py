"""A draft counts signatures of those who may sign, and comes into force by their quorum alone."""

from dataclasses import replace

import pytest

from sealora.protocol import draft as drafts
from sealora.protocol.draft import Changes, Draft, changes
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import REVISION, Roster, genesis

NAMES = ("ams", "ber", "cph", "dub", "edi")
KEYS = {name: IdentityKey.from_bytes(name.encode().ljust(32)) for name in (*NAMES, "fra", "coordinator")}


def first():
    return genesis({name: KEYS[name].public for name in NAMES}, KEYS["coordinator"].public, 1)


def founded():
    revision = first()
    for name in NAMES:
        revision = revision.signed(name, KEYS[name])
    return Roster((revision,))


def enlarged(roster):
    members = {**roster.members, "fra": KEYS["fra"].public}
    return Draft(roster, roster.revisions[-1].next(members))


def signed(draft, *names):
    for name in names:
        draft = draft.with_signature(name, KEYS[name].sign(REVISION, draft.revision.hash))
    return draft


def failure(action, *arguments):
    with pytest.raises(ProtocolError) as error:
        action(*arguments)
    return error.value.failure


def test_the_first_revision_needs_everybody():
    draft = signed(Draft(None, first()), *NAMES[:4])
    assert (draft.needed, draft.signers, draft.in_force) == (5, NAMES[:4], None)
    assert signed(draft, "edi").in_force == founded()


def test_a_later_one_needs_a_quorum_of_those_before():
    draft = signed(enlarged(founded()), *NAMES[:3])
    assert (draft.needed, draft.in_force) == (4, None)
    assert "fra" in signed(draft, "dub").in_force.members


def test_who_is_new_has_no_vote():
    assert failure(signed, enlarged(founded()), "fra") == "stranger"


def test_a_signature_is_of_its_site_and_revision(monkeypatch):
    draft, other = enlarged(founded()), KEYS["ams"].sign(REVISION, bytes(32))
    assert failure(draft.with_signature, "ams", other) == "forged"
    assert failure(draft.with_signature, "ams", KEYS["ber"].sign(REVISION, draft.revision.hash)) == "forged"
    monkeypatch.setattr(drafts, "verify", lambda *_: None)
    assert draft.with_signature("ams", other).signers == ("ams",)


def test_it_follows_the_roster_in_force():
    assert failure(Draft, None, enlarged(founded()).revision) == "broken_chain"
    assert failure(Draft, founded(), first()) == "broken_chain"


def test_impossible_members_are_refused_before_anybody_signs():
    roster = founded()
    twin = roster.revisions[-1].next({**roster.members, "fra": KEYS["ams"].public})
    assert failure(Draft, roster, twin) == "duplicate"


@pytest.mark.parametrize("draft", [Draft(None, first()), signed(enlarged(founded()), "ams", "ber")])
def test_it_survives_its_bytes(draft):
    assert Draft.parse(draft.serialise()) == draft


@pytest.mark.parametrize("raw", [b"", b"\n", b"{}", b"{}\n{}", b"\xff"])
def test_other_bytes_are_refused(raw):
    assert failure(Draft.parse, raw) == "malformed"


def test_a_draft_on_a_roster_that_is_not_in_force_is_refused():
    raw = Draft(None, first()).serialise() + enlarged(founded()).revision.serialise()
    assert failure(Draft.parse, raw) == "no_quorum"


def test_whoever_pinned_another_roster_is_told():
    draft, roster = enlarged(founded()), founded()
    assert draft.since(roster.hash) == (draft.revision,)
    assert failure(draft.since, bytes(32)) == "rolled_back"
    assert failure(Draft(None, first()).since, roster.hash) == "rolled_back"


def test_changes_are_told_by_name():
    before = founded().revisions[-1]
    members = {"ams": KEYS["fra"].public, "ber": before.members["ber"], "fra": KEYS["ams"].public}
    found = changes(before, before.next(members))
    assert found == Changes(("fra",), ("cph", "dub", "edi"), ("ams",), False, None)
    assert changes(None, before).added == NAMES


def test_a_smaller_quorum_afterwards_is_a_change():
    before = founded().revisions[-1]
    assert changes(before, replace(before.next(before.members), colluders=0)).colluders == before.colluders
    assert changes(None, before).colluders is None

"""The roster changes by quorum only, and a site refuses one that does not continue its own."""

import json
from dataclasses import replace

import pytest

from sealora.protocol import roster as rosters
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import Roster, fingerprint, genesis, quorum

NAMES = ("ams", "ber", "cph", "dub", "edi")
KEYS = {name: IdentityKey.from_bytes(name.encode().ljust(32)) for name in (*NAMES, "fra", "coordinator")}


FALSE_NAMES = ("", "ams: one two\n  ber: three", "ams\x1b[2K", "\ud800", "ams\u202e", "аms", "AMS", "x" * 64)
"""What no certificate names: above all lines and escapes that forge a screen, and half characters."""


def founded(colluders=1):
    members = {name: KEYS[name].public for name in NAMES}
    return sign(genesis(members, KEYS["coordinator"].public, colluders), NAMES)


def sign(revision, names):
    for name in names:
        revision = revision.signed(name, KEYS[name])
    return revision


def enlarged(first, signers):
    """The roster with one more site, approved by the given members."""
    return sign(first.next({**first.members, "fra": KEYS["fra"].public}), signers)


def refused(failure, *revisions):
    with pytest.raises(ProtocolError) as error:
        Roster(revisions)
    assert error.value.failure == failure


def test_founders_and_quorum():
    first = founded()
    assert quorum(first) == 4
    roster = Roster((first, enlarged(first, NAMES[:4])))
    assert roster.public("fra") == KEYS["fra"].public
    assert roster.coordinator == KEYS["coordinator"].public
    assert len(roster.members) == 6


def test_it_survives_its_bytes():
    first = founded()
    roster = Roster((first, enlarged(first, NAMES[1:])))
    again = Roster.parse(roster.serialise())
    assert again.hash == roster.hash
    assert again == roster


def test_a_founder_who_did_not_sign_blocks_the_first_revision():
    members = {name: KEYS[name].public for name in NAMES}
    refused("no_quorum", sign(genesis(members, KEYS["coordinator"].public, 1), NAMES[:4]))


def test_sybils_need_a_quorum(monkeypatch):
    first = founded()
    change = enlarged(first, NAMES[:3])
    refused("no_quorum", first, change)
    monkeypatch.setattr(rosters, "quorum", lambda revision: 1)
    assert "fra" in Roster((first, change)).members


def test_new_members_do_not_vote_on_themselves():
    first = founded()
    refused("no_quorum", first, enlarged(first, (*NAMES[:3], "fra")))


def test_signatures_are_checked(monkeypatch):
    first = founded()
    change = enlarged(first, NAMES[:3])
    false = replace(change, signatures={**change.signatures, "dub": KEYS["fra"].sign("x")})
    refused("forged", first, false)
    monkeypatch.setattr(rosters, "verify", lambda *arguments: None)
    assert "fra" in Roster((first, false)).members


def test_approval_of_one_revision_is_no_approval_of_another():
    first = founded()
    approved = enlarged(first, NAMES[:4])
    other = replace(first.next(first.members), signatures=approved.signatures)
    refused("forged", first, other)


@pytest.mark.parametrize("change", [{"serial": 7}, {"previous": bytes(32)}])
def test_revisions_form_a_chain(change):
    first = founded()
    second = sign(replace(first.next(first.members), **change), NAMES)
    refused("broken_chain", first, second)


def test_the_chain_begins_at_the_beginning():
    first = founded()
    refused("broken_chain", enlarged(first, NAMES))


def test_a_rollback_is_refused_and_a_continuation_shown():
    first = founded()
    second = enlarged(first, NAMES[:4])
    roster = Roster((first, second))
    assert roster.since(first.hash) == (second,)
    assert roster.since(second.hash) == ()
    with pytest.raises(ProtocolError) as error:
        Roster((first,)).since(second.hash)
    assert error.value.failure == "rolled_back"


def test_one_key_serves_one_party():
    first = founded()
    refused("duplicate", first, sign(first.next({**first.members, "fra": KEYS["ams"].public}), NAMES))
    refused("duplicate", first, sign(first.next({**first.members, "fra": KEYS["coordinator"].public}), NAMES))


def test_a_stranger_has_no_key():
    with pytest.raises(ProtocolError) as error:
        Roster((founded(),)).public("zrh")
    assert error.value.failure == "stranger"


def test_fingerprints_are_words():
    words = fingerprint(KEYS["ams"].public)
    assert len(words.split()) == 16
    assert words == fingerprint(KEYS["ams"].public)
    assert words != fingerprint(KEYS["ber"].public)


def test_a_revision_is_read_out_by_its_hash():
    first = founded()
    assert len(first.words.split()) == 24
    assert first.words == genesis(first.members, first.coordinator, 1).words, "signatures are no part of it"
    assert first.words != first.next(first.members).words


@pytest.mark.parametrize(
    "change",
    [
        {"serial": -1},
        {"serial": "0"},
        {"previous": "00"},
        {"coordinator": "zz"},
        {"members": []},
        {"members": {}},
        {"members": {"ams": "00"}},
        {"signatures": {"ams": "00"}},
        {"colluders": 5},
        *({"members": {name: KEYS["ams"].public.hex()}} for name in FALSE_NAMES),
        *({"signatures": {name: "00" * 64}} for name in FALSE_NAMES),
    ],
)
def test_malformed_lines_are_refused(change):
    record = json.loads(Roster((founded(),)).serialise())
    with pytest.raises(ProtocolError) as error:
        Roster.parse(json.dumps({**record, **change}).encode())
    assert error.value.failure == "malformed"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_other_bytes_are_refused(raw):
    with pytest.raises(ProtocolError) as error:
        Roster.parse(raw)
    assert error.value.failure == "malformed"


def test_every_flipped_byte_is_noticed():
    raw = Roster((founded(),)).serialise()
    for place in range(len(raw) - 1):
        with pytest.raises(ProtocolError):
            Roster.parse(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])

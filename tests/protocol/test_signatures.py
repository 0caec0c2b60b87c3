"""Signatures are verified once, and nothing but the very same signature is taken for verified."""

import pytest

from sealora.protocol import signatures
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey, verify
from sealora.protocol.signatures import Signatures

KEY, OTHER = (IdentityKey.from_bytes(bytes([number]) * 32) for number in (1, 2))
LABEL, FIELDS = "label", (b"one", b"two")


@pytest.fixture
def verified(monkeypatch):
    """How often a signature was verified in earnest."""
    calls = []

    def counting(*arguments):
        calls.append(arguments)
        verify(*arguments)

    monkeypatch.setattr(signatures, "verify", counting)
    return calls


def test_a_signature_is_verified_once(verified):
    known, signature = Signatures(), KEY.sign(LABEL, *FIELDS)
    for _ in range(3):
        known.verify(KEY.public, signature, LABEL, *FIELDS)
    assert len(verified) == 1
    Signatures().verify(KEY.public, signature, LABEL, *FIELDS)
    assert len(verified) == 2


def test_what_a_party_signed_itself_is_known(verified):
    known = Signatures()
    signature = known.sign(KEY, LABEL, *FIELDS)
    assert signature == KEY.sign(LABEL, *FIELDS)
    known.verify(KEY.public, signature, LABEL, *FIELDS)
    assert verified == []


@pytest.mark.parametrize(
    "changed",
    [
        (OTHER.public, None, LABEL, *FIELDS),
        (KEY.public, OTHER.sign(LABEL, *FIELDS), LABEL, *FIELDS),
        (KEY.public, None, "another", *FIELDS),
        (KEY.public, None, LABEL, b"one", b"2"),
        (KEY.public, None, LABEL, b"onet", b"wo"),
        (KEY.public, None, LABEL, b"one"),
        (KEY.public, None, LABEL, *FIELDS, b""),
    ],
)
def test_anything_else_is_verified_and_refused(verified, changed):
    known, signature = Signatures(), KEY.sign(LABEL, *FIELDS)
    known.verify(KEY.public, signature, LABEL, *FIELDS)
    public, other, *rest = changed
    for _ in range(2):
        with pytest.raises(ProtocolError) as refused:
            known.verify(public, other or signature, *rest)
        assert refused.value.failure == "forged"
    assert len(verified) == 3


def test_the_oldest_are_forgotten(verified, monkeypatch):
    monkeypatch.setattr(signatures, "REMEMBERED", 2)
    known = Signatures()
    made = [known.sign(KEY, LABEL, bytes([number])) for number in range(3)]
    for number in (2, 1):
        known.verify(KEY.public, made[number], LABEL, bytes([number]))
    assert verified == []
    known.verify(KEY.public, made[0], LABEL, bytes([0]))
    assert len(verified) == 1

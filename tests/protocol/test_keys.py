"""Keys against published and frozen vectors, and against everything an attacker may change."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol import keys
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import ExchangeKey, IdentityKey, derive, pack, seal, unseal, verify

VECTORS = Path(__file__).with_name("vectors")


def cases(name: str, *expect: str) -> list[Any]:
    """The cases of a vector file, those that expect one of `expect` if given."""
    entries = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in entries if not expect or case["expect"] in expect]


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 by hand: extract, then the first block of expand."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def gcm(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """SP 800-38D by hand, for a zero 96-bit nonce: counter mode from block 2, GHASH, tag."""
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # one block at a time: a reference, not a mode

    def block(counter: int) -> bytes:
        return aes.update(counter.to_bytes(16, "big"))

    def times(x: int, y: int) -> int:
        product = 0
        for bit in range(127, -1, -1):
            product ^= y * (x >> bit & 1)
            y = y >> 1 ^ (0xE1 << 120) * (y & 1)
        return product

    stream = b"".join(block(2 + i) for i in range(len(plaintext) // 16 + 1))
    ciphertext = bytes(a ^ b for a, b in zip(plaintext, stream, strict=False))
    padded = [part + bytes(-len(part) % 16) for part in (associated, ciphertext)]
    lengths = (8 * len(associated)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    hashed = b"".join([*padded, lengths])
    subkey, state = int.from_bytes(aes.update(bytes(16)), "big"), 0
    for start in range(0, len(hashed), 16):
        state = times(state ^ int.from_bytes(hashed[start : start + 16], "big"), subkey)
    return ciphertext + (state ^ int.from_bytes(block(1), "big")).to_bytes(16, "big")


def flipped(raw: bytes) -> list[bytes]:
    """The string with each byte changed in turn."""
    return [raw[:i] + bytes([raw[i] ^ 0x40]) + raw[i + 1 :] for i in range(len(raw))]


# packing


@given(st.text(max_size=8), st.lists(st.binary(max_size=12), max_size=5))
@settings(deadline=None)
def test_packing_can_be_undone_and_is_therefore_unambiguous(label: str, fields: list[bytes]) -> None:
    packed, parts = pack(label, *fields), []
    while packed:
        length = int.from_bytes(packed[:8], "big")
        parts.append(packed[8 : 8 + length])
        packed = packed[8 + length :]
    assert parts == [label.encode(), *fields]


# signatures


@pytest.mark.parametrize("case", cases("signatures", "valid"))
def test_signatures_are_the_frozen_ones(case: dict[str, Any]) -> None:
    fields = [bytes.fromhex(field) for field in case["fields"]]
    key = IdentityKey.from_bytes(bytes.fromhex(case["seed"]))
    assert key.public.hex() == case["public"]
    assert pack(case["label"], *fields).hex() == case["packed"]
    assert key.sign(case["label"], *fields).hex() == case["signature"]
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(case["public"]))
    public.verify(bytes.fromhex(case["signature"]), bytes.fromhex(case["packed"]))
    verify(key.public, bytes.fromhex(case["signature"]), case["label"], *fields)


@pytest.mark.parametrize("case", cases("signatures", "forged"))
def test_forged_signatures_are_refused(case: dict[str, Any]) -> None:
    fields = [bytes.fromhex(field) for field in case["fields"]]
    with pytest.raises(ProtocolError) as error:
        verify(bytes.fromhex(case["public"]), bytes.fromhex(case["signature"]), case["label"], *fields)
    assert error.value.failure == case["expect"]


def test_every_byte_of_a_signature_counts() -> None:
    key = IdentityKey.generate()
    signature = key.sign("label", b"field")
    verify(key.public, signature, "label", b"field")
    for altered in flipped(signature):
        with pytest.raises(ProtocolError, match="not that of the expected key"):
            verify(key.public, altered, "label", b"field")


def test_an_identity_is_kept_as_its_seed() -> None:
    key = IdentityKey.generate()
    assert IdentityKey.from_bytes(key.secret).public == key.public
    assert IdentityKey.generate().public != key.public
    with pytest.raises(ValueError, match="32"):
        IdentityKey.from_bytes(key.secret[:31])


# key agreement


@pytest.mark.parametrize("case", cases("exchange", "shared"))
def test_key_agreement_is_rfc_7748(case: dict[str, str]) -> None:
    key = ExchangeKey.from_secret(bytes.fromhex(case["secret"]))
    assert key.public.hex() == case["public"]
    assert key.secret.hex() == case["secret"]
    assert key.agree(bytes.fromhex(case["peer"])).hex() == case["shared"]


@pytest.mark.parametrize("case", cases("exchange", "low_order"))
def test_low_order_and_malformed_keys_are_refused(case: dict[str, str]) -> None:
    key = ExchangeKey.from_secret(bytes.fromhex(case["secret"]))
    with pytest.raises(ProtocolError) as error:
        key.agree(bytes.fromhex(case["peer"]))
    assert error.value.failure == case["expect"]


def test_both_ends_agree_and_a_third_does_not() -> None:
    one, two, three = ExchangeKey.generate(), ExchangeKey.generate(), ExchangeKey.generate()
    assert one.agree(two.public) == two.agree(one.public)
    assert one.agree(two.public) != three.agree(two.public)
    restored = ExchangeKey.from_secret(one.secret)
    assert restored.agree(two.public) == one.agree(two.public)


@pytest.mark.parametrize("kind", [IdentityKey, ExchangeKey])
def test_no_representation_shows_a_secret(kind: type[IdentityKey] | type[ExchangeKey]) -> None:
    key = kind.generate()
    for shown in (repr(key), str(key), f"{key}"):
        assert key.public.hex() in shown
        assert key.secret.hex() not in shown
        assert repr(key.secret) not in shown


# derivation


@pytest.mark.parametrize("case", cases("hkdf"))
def test_derivation_is_hkdf(case: dict[str, str]) -> None:
    secret, salt, info = (bytes.fromhex(case[name]) for name in ("secret", "salt", "info"))
    assert derive(secret, salt, info).hex() == case["key"]
    assert hkdf(secret, salt, info).hex() == case["key"]


@given(st.binary(min_size=1, max_size=80), st.binary(max_size=80), st.binary(max_size=80))
@settings(deadline=None)
def test_derivation_is_hkdf_on_any_input(secret: bytes, salt: bytes, info: bytes) -> None:
    assert derive(secret, salt, info) == hkdf(secret, salt, info)


def test_a_key_depends_on_every_input() -> None:
    derived = {
        derive(secret, salt, info)
        for secret in (b"a", b"b")
        for salt in (b"c", b"d")
        for info in (b"e", b"f")
    }
    assert len(derived) == 8


# sealing


@pytest.mark.parametrize("case", cases("sealed_shares", "plaintext"))
def test_sealing_is_gcm_with_a_zero_nonce(case: dict[str, str]) -> None:
    key, associated, plaintext, ciphertext = (
        bytes.fromhex(case[name]) for name in ("key", "associated", "plaintext", "ciphertext")
    )
    assert seal(key, plaintext, associated) == ciphertext
    assert gcm(key, plaintext, associated) == ciphertext
    assert unseal(key, ciphertext, associated) == plaintext
    assert len(ciphertext) == len(plaintext) + keys.TAG_BYTES


@pytest.mark.parametrize("case", cases("sealed_shares", "tampered"))
def test_a_sealed_message_does_not_open_otherwise(case: dict[str, str]) -> None:
    with pytest.raises(ProtocolError) as error:
        unseal(*(bytes.fromhex(case[name]) for name in ("key", "ciphertext", "associated")))
    assert error.value.failure == case["expect"]


@pytest.mark.parametrize("changed", ["key", "ciphertext", "associated"])
def test_every_byte_of_a_sealed_message_counts(changed: str) -> None:
    key = hashlib.sha256(b"once").digest()
    honest = {"key": key, "ciphertext": seal(key, b"a share", b"from a to b"), "associated": b"from a to b"}
    assert unseal(**honest) == b"a share"
    for altered in flipped(honest[changed]):
        with pytest.raises(ProtocolError, match="altered"):
            unseal(**{**honest, changed: altered})


@given(st.binary(max_size=200), st.binary(max_size=50), st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_what_is_sealed_is_unsealed(plaintext: bytes, associated: bytes, key: bytes) -> None:
    assert unseal(key, seal(key, plaintext, associated), associated) == plaintext


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_sealing_takes_only_256_bit_keys(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal(bytes(length), b"", b"")
    with pytest.raises(ValueError, match="32 bytes"):
        unseal(bytes(length), bytes(16), b"")

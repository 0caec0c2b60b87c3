"""Masks: the frozen keystreams, cancellation, and a result that depends on nothing but the keys."""

import hashlib
import itertools
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sealora.protocol import masks
from sealora.protocol.masks import CHUNK_WORDS, apply_masks

VECTORS = Path(__file__).with_name("vectors")
KEYS = st.lists(st.binary(min_size=32, max_size=32), max_size=6)
WORDS = st.lists(st.integers(0, 2**64 - 1), max_size=9)


def key(name: object) -> bytes:
    return hashlib.sha256(repr(name).encode()).digest()


def keystream(secret: bytes, words: int) -> list[int]:
    """Counter mode by hand: the encryptions of 0, 1, 2, … as big-endian blocks, two words in each."""
    block = Cipher(algorithms.AES(secret), modes.ECB()).encryptor()
    stream = b"".join(block.update(counter.to_bytes(16, "big")) for counter in range(words // 2 + 1))
    return [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(words)]


def by_hand(words: Sequence[int], add: Sequence[bytes], subtract: Sequence[bytes]) -> list[int]:
    masked = list(words)
    for sign, secrets in ((1, add), (-1, subtract)):
        for secret in secrets:
            stream = keystream(secret, len(masked))
            masked = [(word + sign * mask) % 2**64 for word, mask in zip(masked, stream, strict=True)]
    return masked


def masked(
    words: NDArray[np.uint64], add: Sequence[bytes], subtract: Sequence[bytes], threads: int = 1
) -> NDArray[np.uint64]:
    result = words.copy()
    apply_masks(result, add, subtract, threads)
    return result


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["name"])
        for case in json.loads((VECTORS / "masks.json").read_text())["cases"]
    ],
)
def test_frozen_masks(case: dict[str, Any]) -> None:
    words, expected = ([int(word, 16) for word in case[name]] for name in ("words", "masked"))
    add, subtract = ([bytes.fromhex(secret) for secret in case[name]] for name in ("add", "subtract"))
    assert by_hand(words, add, subtract) == expected
    assert masked(np.array(words, dtype=np.uint64), add, subtract).tolist() == expected


@given(WORDS, KEYS, KEYS)
@settings(deadline=None)
def test_masks_are_counter_mode_modulo_2_64(
    words: list[int], add: list[bytes], subtract: list[bytes]
) -> None:
    assert masked(np.array(words, dtype=np.uint64), add, subtract).tolist() == by_hand(words, add, subtract)


@given(st.integers(2, 6), st.integers(0, 12), st.binary(min_size=1, max_size=8))
@settings(deadline=None)
def test_pairwise_masks_cancel_in_the_sum(sites: int, size: int, seed: bytes) -> None:
    pairs = {pair: key((seed, pair)) for pair in itertools.combinations(range(sites), 2)}
    inputs = [np.array(keystream(key((seed, site)), size), dtype=np.uint64) for site in range(sites)]
    total = np.zeros(size, dtype=np.uint64)
    for site, words in enumerate(inputs):
        add = [secret for (low, _), secret in pairs.items() if low == site]
        subtract = [secret for (_, high), secret in pairs.items() if high == site]
        contribution = masked(words, add, subtract)
        assert size == 0 or not np.array_equal(contribution, words)
        total += contribution
    assert np.array_equal(total, np.sum(inputs, axis=0, dtype=np.uint64))


@given(WORDS, KEYS, KEYS)
@settings(deadline=None)
def test_what_was_masked_is_unmasked(words: list[int], add: list[bytes], subtract: list[bytes]) -> None:
    vector = np.array(words, dtype=np.uint64)
    assert np.array_equal(masked(masked(vector, add, subtract), subtract, add), vector)


SIZES = [0, 1, 2, 3, CHUNK_WORDS - 1, CHUNK_WORDS, CHUNK_WORDS + 1, 3 * CHUNK_WORDS + 5]


@pytest.mark.parametrize("size", SIZES)
def test_the_result_does_not_depend_on_threads(size: int) -> None:
    words = np.arange(size, dtype=np.uint64)
    add, subtract = [key("a"), key("b")], [key("c")]
    expected = masked(words, add, subtract)
    assert expected[-3:].tolist() == by_hand(words.tolist(), add, subtract)[-3:]
    for threads in (2, 3, 4, 7):
        assert np.array_equal(masked(words, add, subtract, threads), expected)


@given(st.integers(0, 70), st.integers(1, 9), KEYS, KEYS)
@settings(deadline=None, max_examples=50)
def test_threads_of_any_number_share_any_vector(
    size: int, threads: int, add: list[bytes], sub: list[bytes]
) -> None:
    words = np.arange(size, dtype=np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "CHUNK_WORDS", 4)
        assert masked(words, add, sub, threads).tolist() == by_hand(words.tolist(), add, sub)


def test_threads_work_on_parts_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[tuple[int, int, bool]] = []
    inner = masks._mask

    def recorded(words: NDArray[np.uint64], start: int, keys: Sequence[masks.Signed]) -> None:
        parts.append((start, words.size, threading.current_thread() is threading.main_thread()))
        inner(words, start, keys)

    monkeypatch.setattr(masks, "_mask", recorded)
    apply_masks(np.zeros(3 * CHUNK_WORDS + 5, dtype=np.uint64), [key("a")], [], threads=2)
    assert sorted(parts) == [(0, 2 * CHUNK_WORDS, False), (2 * CHUNK_WORDS, CHUNK_WORDS + 5, False)]


def test_keys_beyond_those_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "KEYS_AT_ONCE", 3)
    words = list(range(11))
    add, subtract = [key(i) for i in range(4)], [key(-1 - i) for i in range(5)]
    assert masked(np.array(words, dtype=np.uint64), add, subtract).tolist() == by_hand(words, add, subtract)


@pytest.mark.parametrize("plain", [0, 2**64 - 1, 0x0000_FFFF_0000_FFFF])
def test_a_masked_vector_is_uniform(plain: int) -> None:
    words = masked(np.full(1 << 16, plain, dtype=np.uint64), [key("uniform")], [key("other")])
    raw = words.view(np.uint8)
    expected = raw.size / 256
    chi_square = float(np.sum((np.bincount(raw, minlength=256) - expected) ** 2) / expected)
    # 255 degrees of freedom: mean 255, deviation 22.6; five deviations either way, under fixed keys.
    assert 142 < chi_square < 368
    ones = np.unpackbits(raw).reshape(words.size, 64).sum(axis=0, dtype=np.int64)
    assert np.all(np.abs(ones - words.size / 2) < 5 * np.sqrt(words.size) / 2)


def test_masks_of_different_keys_are_unrelated() -> None:
    zeros = np.zeros(4096, dtype=np.uint64)
    one, two = masked(zeros, [key("one")], []), masked(zeros, [key("two")], [])
    agreeing = np.unpackbits((~(one ^ two)).view(np.uint8)).sum(dtype=np.int64)
    assert abs(int(agreeing) - 32 * zeros.size) < 5 * 4 * np.sqrt(zeros.size)


@pytest.mark.parametrize(
    "words",
    [
        np.zeros((2, 2), dtype=np.uint64),
        np.zeros(4, dtype=np.int64),
        np.zeros(4, dtype=np.uint64).astype(">u8"),
        np.zeros(8, dtype=np.uint64)[::2],
        np.frombuffer(bytes(32), dtype=np.uint64),
    ],
    ids=["matrix", "signed", "byte order", "strided", "read-only"],
)
def test_only_a_writable_vector_of_words_is_masked(words: NDArray[np.uint64]) -> None:
    with pytest.raises(ValueError, match="vector of uint64"):
        apply_masks(words, [key("a")], [])
    assert not words.any()


@pytest.mark.parametrize(
    ("length", "threads"), [(0, 1), (16, 1), (24, 1), (31, 1), (33, 1), (32, 0), (32, -1)]
)
def test_nothing_is_masked_when_a_key_is_refused(length: int, threads: int) -> None:
    words = np.zeros(4, dtype=np.uint64)
    for add, subtract in ([key("a"), bytes(length)], []), ([key("a")], [bytes(length)]):
        with pytest.raises(ValueError, match="32-byte keys"):
            apply_masks(words, add, subtract, threads)
    assert not words.any()

"""Packing: digits and words are the same numbers, whatever the pieces in which they come."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol.packing import BLOCK, Packer, Unpacker

RADICES = {1: 2**63, 2: 2**31 + 1, 3: 2_097_151, 5: 6_000, 63: 2}


def by_hand(digits, lanes, radix):
    padded = [*digits, *[0] * (-len(digits) % lanes)]
    groups = (padded[place : place + lanes] for place in range(0, len(padded), lanes))
    return [sum(digit * radix**place for place, digit in enumerate(group)) for group in groups]


def packed(pieces, lanes, radix):
    count = -(-sum(map(len, pieces)) // lanes)
    packer = Packer(count, lanes, radix)
    for piece in pieces:
        packer.room(len(piece))[:] = piece
        packer.take(len(piece))
    return packer.finish()


@given(lanes=st.sampled_from(sorted(RADICES)), data=st.data())
@settings(deadline=None)
def test_digits_come_back(lanes, data):
    radix = RADICES[lanes]
    digit = st.integers(0, min(radix - 1, 2**53 - 1))
    pieces = data.draw(st.lists(st.lists(digit, max_size=9), max_size=5))
    digits = [digit for piece in pieces for digit in piece]
    words = packed(pieces, lanes, radix)
    assert words.tolist() == by_hand(digits, lanes, radix)
    unpacker = Unpacker(words, lanes, radix, radix - 1)
    assert [digit for piece in pieces for digit in unpacker.read(len(piece))] == digits
    unpacker.finish()


@pytest.mark.parametrize("lanes", [1, 3, 5])
def test_more_than_a_block(lanes):
    radix = RADICES[lanes]
    digits = np.random.default_rng(lanes).integers(0, min(radix, 2**53), 2 * BLOCK + 7, dtype=np.uint64)
    cuts = [0, 5, 5 + BLOCK, 2 * BLOCK, digits.size]
    words = packed([digits[one:other] for one, other in itertools.pairwise(cuts)], lanes, radix)
    assert words.tolist() == by_hand(digits.tolist(), lanes, radix)
    unpacker = Unpacker(words, lanes, radix, radix - 1)
    assert np.array_equal(unpacker.read(digits.size), digits)
    unpacker.finish()


def test_a_word_or_a_digit_that_is_too_large_is_refused():
    words = np.array([999], dtype=np.uint64)
    assert Unpacker(words, 3, 10, 9).read(3).tolist() == [9, 9, 9]
    for given_words, largest in ((words + np.uint64(1), 9), (words, 8)):
        with pytest.raises(ValueError, match="exceeds what its contributors"):
            Unpacker(given_words, 3, 10, largest).read(3)


@pytest.mark.parametrize(("words", "read", "whole"), [([1], 1, True), ([11], 1, False), ([1, 1], 3, False)])
def test_what_is_not_read_must_be_zero(words, read, whole):
    unpacker = Unpacker(np.array(words, dtype=np.uint64), 3, 10, 9)
    unpacker.read(read)
    if whole:
        unpacker.finish()
    else:
        with pytest.raises(ValueError, match="exceeds what its contributors"):
            unpacker.finish()

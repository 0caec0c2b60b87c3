"""The public rotation is orthogonal, linear, and spreads peaks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora.protocol.rotation import BLOCK, Rotation

KEY = bytes(range(32))


def vector(length, seed=0):
    return np.random.default_rng(seed).normal(size=length)


def matrix(length):
    """The rotation of that length, column by column."""
    rotation = Rotation(KEY, length)
    return np.stack([rotation.forward(column) for column in np.eye(length)], axis=1)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 30, 33])
def test_it_is_orthogonal(length):
    turned = matrix(length)
    np.testing.assert_allclose(turned.T @ turned, np.eye(length), atol=1e-12)


def test_one_block_is_signs_then_hadamard():
    """Against the matrix by Sylvester's construction."""
    hadamard = np.array([[1.0]])
    for _ in range(3):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    turned = matrix(8) * np.sqrt(8)
    signs = turned[0]
    assert set(signs.tolist()) <= {1.0, -1.0} or np.allclose(abs(signs), 1)
    np.testing.assert_allclose(turned, hadamard * signs, atol=1e-12)


@given(st.integers(0, 3 * BLOCK), st.integers(0, 5))
def test_it_turns_back_what_was_added_up(length, seed):
    rotation, one, other = Rotation(KEY, length), vector(length, seed), vector(length, seed + 1)
    total = rotation.forward(one) + rotation.forward(other)
    np.testing.assert_allclose(rotation.inverse(total), one + other, atol=1e-9)
    assert np.linalg.norm(rotation.forward(one)) == pytest.approx(np.linalg.norm(one))


@pytest.mark.parametrize("length", [BLOCK, BLOCK + 1, 3 * BLOCK - 7])
def test_a_peak_is_spread(length):
    for place in (0, length // 2, length - 1):
        peak = np.zeros(length)
        peak[place] = 1.0
        assert np.abs(Rotation(KEY, length).forward(peak)).max() < 6 / np.sqrt(BLOCK)


def test_keys_and_arguments():
    one = vector(100)
    kept = one.copy()
    turned = Rotation(KEY, 100).forward(one)
    np.testing.assert_array_equal(one, kept)
    np.testing.assert_array_equal(turned, Rotation(KEY, 100).forward(one))
    assert not np.allclose(turned, Rotation(bytes(32), 100).forward(one))

"""Public random rotation: spreads what is in few coordinates over many, so that a small range fits all.

Suresh et al. 2017 (arXiv 1611.00429), section 3: x ↦ H·D·x with D a diagonal of random signs and H a
normalised Hadamard matrix, in blocks of a power of two. Both are orthogonal, so norms stay, sums of rotated
vectors are rotated sums, and whoever knows the key turns back what was added up.

A vector that is no whole number of blocks is rotated once more in its last block, which overlaps the one
before: a product of rotations is a rotation, and nothing has to be padded.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sealora.protocol.keystream import Keystream, derive_key

BLOCK = 4096
"""Values of a block: the most that a coordinate is spread over."""

Vector = NDArray[np.float64]


class Rotation:
    """The rotation of vectors of one length under a public key."""

    def __init__(self, key: bytes, length: int) -> None:
        self._key, self._length = key, length
        self._block = 1 << min(BLOCK.bit_length() - 1, max(length.bit_length() - 1, 0))

    def forward(self, vector: Vector) -> Vector:
        """The rotated vector, shape (length,)."""
        turned = vector.astype(np.float64)
        for values, signs in self._parts(turned):
            values *= signs
            _hadamard(values)
        return turned

    def inverse(self, vector: Vector) -> Vector:
        """The vector that `forward` turned into this one, or the sum of such vectors."""
        turned = vector.astype(np.float64)
        for values, signs in reversed(list(self._parts(turned))):
            _hadamard(values)  # which is its own inverse, as the signs are theirs
            values *= signs
        return turned

    def _parts(self, vector: Vector) -> Iterator[tuple[Vector, Vector]]:
        """Views of whole blocks, a block a row, with their signs: first all, then the overlapping one."""
        whole = self._length // self._block * self._block
        if whole:
            yield vector[:whole].reshape(-1, self._block), self._signs("whole", whole)
        if whole < self._length:
            yield vector[-self._block :].reshape(1, -1), self._signs("rest", self._block)

    def _signs(self, part: str, count: int) -> Vector:
        """±1 by the bits of a keystream, shape (blocks, block)."""
        words = Keystream(derive_key("sealora/v1/rotation", self._key, part)).words32(-(-count // 32))
        bits = np.unpackbits(words.view(np.uint8))[:count]
        signs: Vector = 1.0 - 2.0 * bits.astype(np.float64)
        return signs.reshape(-1, self._block)


def _hadamard(blocks: Vector) -> None:
    """The normalised Walsh-Hadamard transform of each row, in place."""
    rows, size = blocks.shape
    half = 1
    while half < size:
        pairs = blocks.reshape(rows, size // (2 * half), 2, half)
        low, high = pairs[:, :, 0], pairs[:, :, 1]
        difference = low - high
        low += high
        high[:] = difference
        half *= 2
    blocks *= 1 / np.sqrt(size)

"""Masks: AES-256-CTR keystreams added to and subtracted from a vector of words modulo 2^64.

The mask of a key is its keystream from a zero counter (NIST SP 800-38A, section 6.5), read as
little-endian 64-bit words. A key makes one mask and serves nothing else. The sites' pairwise masks
cancel in their sum (Bonawitz et al. 2017, section 4).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from sealora.protocol.keys import KEY_BYTES

CHUNK_WORDS = 1 << 14
"""Words masked at a time: 128 KiB of words, of zeros and of keystream stay in the second-level cache."""
KEYS_AT_ONCE = 1024
"""Open encryptors, each under 1 KiB; more keys are applied in turns."""
BLOCK_BYTES = 16
WORD_BYTES = 8


class Apply(Protocol):
    """`np.add` or `np.subtract`."""

    def __call__(self, words: NDArray[np.uint64], mask: NDArray[np.uint64], /, *, out: NDArray[np.uint64]) -> object:
        """Combine words and mask into `out`."""


def apply_masks(words: NDArray[np.uint64], add: Sequence[bytes], subtract: Sequence[bytes], threads: int = 1) -> None:
    """Add the masks of `add` to the words and subtract those of `subtract`, in place, modulo 2^64.

    Parameters: `words` of shape (d,), contiguous and writable; 32-byte keys; the vector is divided
    among `threads`, which run side by side because ciphers and numpy release the interpreter lock.
    The result does not depend on `threads`.
    Raises: ValueError for another shape, dtype or length of key; the words are then untouched.
    """
    if words.ndim != 1 or words.dtype != np.uint64 or not (words.flags.c_contiguous and words.flags.writeable):
        raise ValueError("masks apply to a contiguous, writable vector of uint64")
    if threads < 1 or not all(len(key) == KEY_BYTES for key in chain(add, subtract)):
        raise ValueError("masks take 32-byte keys and at least one thread")
    keys = [*zip(add, repeat(np.add)), *zip(subtract, repeat(np.subtract))]
    turns = [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]
    bounds = list(_bounds(words.size, threads))
    ...

"""Masks: AES-256-CTR keystreams added to and subtracted from a vector of words modulo 2^64.

The mask of a key is its keystream from a zero counter (NIST SP 800-38A, section 6.5), read as
little-endian 64-bit words. A key makes one mask and serves nothing else. The sites' pairwise masks
cancel in their sum (Bonawitz et al. 2017, section 4).
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from sealora.protocol.keys import KEY_BYTES

CHUNK_WORDS = 1 << 14
"""Words masked at a time: 128 KiB of words, of zeros and of keystream stay in the second-level cache."""
KEYS_AT_ONCE = 1024
"""Encryptors open at once on each thread, about 1 KiB each; more keys are taken in turns."""
WORD_BYTES = 8
BLOCK_BYTES = 16

Signed = tuple[bytes, np.ufunc]
"""A key and the operation that applies its mask, `np.add` or `np.subtract`."""


def apply_masks(
    words: NDArray[np.uint64], add: Sequence[bytes], subtract: Sequence[bytes], threads: int = 1
) -> None:
    """Add the masks of the keys `add` and subtract those of `subtract`, in place, modulo 2^64.

    Parameters: `words` of shape (d,), contiguous and writable; 32-byte keys; the vector is divided
    among `threads`, which run side by side because cipher and numpy release the interpreter lock.
    The result does not depend on `threads`.
    Raises: ValueError for another shape, dtype or length of key; the words are then untouched.
    """
    if (
        words.ndim != 1
        or words.dtype != np.uint64
        or not (words.flags.c_contiguous and words.flags.writeable)
    ):
        raise ValueError("masks apply to a contiguous, writable vector of uint64")
    if threads < 1 or not all(len(key) == KEY_BYTES for key in chain(add, subtract)):
        raise ValueError("masks take 32-byte keys and at least one thread")
    keys = [*((key, np.add) for key in add), *((key, np.subtract) for key in subtract)]
    part = _part(words.size, threads)
    starts = range(0, words.size, part)
    if len(starts) <= 1:
        _mask(words, 0, keys)
        return
    with ThreadPoolExecutor(len(starts)) as pool:
        list(pool.map(lambda start: _mask(words[start : start + part], start, keys), starts))


def _part(size: int, threads: int) -> int:
    """Words of one thread: whole chunks, and therefore whole cipher blocks."""
    chunks = -(-size // CHUNK_WORDS)
    return CHUNK_WORDS * max(1, -(-chunks // threads))


def _mask(words: NDArray[np.uint64], start: int, keys: Sequence[Signed]) -> None:
    """Mask the words that begin at word `start` of the vector."""
    zeros = memoryview(bytes(WORD_BYTES * CHUNK_WORDS))
    keystream = bytearray(WORD_BYTES * CHUNK_WORDS + BLOCK_BYTES)
    for turn in range(0, len(keys), KEYS_AT_ONCE):
        streams = [(_open(key, start).update_into, apply) for key, apply in keys[turn : turn + KEYS_AT_ONCE]]
        # Keys inside, chunks outside: a chunk of words is fetched from memory once for all its masks.
        for offset in range(0, words.size, CHUNK_WORDS):
            chunk = words[offset : offset + CHUNK_WORDS]
            mask = np.frombuffer(keystream, dtype="<u8", count=chunk.size)
            for update_into, apply in streams:
                update_into(zeros[: chunk.nbytes], keystream)
                apply(chunk, mask, out=chunk)


def _open(key: bytes, start: int) -> CipherContext:
    """The keystream of a key from word `start` on, which begins a cipher block."""
    counter = start * WORD_BYTES // BLOCK_BYTES
    return Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(BLOCK_BYTES, "big"))).encryptor()

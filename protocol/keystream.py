"""Deterministic random words: AES-256 in counter mode under a key that names their purpose."""

import hashlib

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

ZERO_COUNTER = bytes(16)


def derive_key(*fields: bytes | str | int) -> bytes:
    """32-byte key for one purpose: SHA-256 over the length-prefixed fields.

    Every field is prefixed with its length, so no two field lists hash the same bytes.
    """
    digest = hashlib.sha256()
    for field in fields:
        raw = field if isinstance(field, bytes) else str(field).encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.digest()


class Keystream:
    """AES-256-CTR keystream under a single-use key (zero initial counter)."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(ZERO_COUNTER)).encryptor()

    def words32(self, count: int) -> NDArray[np.uint32]:
        """The next `count` words, uniform on [0, 2^32), little-endian."""
        return np.frombuffer(self._encryptor.update(bytes(4 * count)), dtype="<u4")

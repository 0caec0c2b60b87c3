"""Gaussian noise from a cryptographic generator: AES-256-CTR under a key from the operating system.

Box & Muller 1958 on 53-bit uniforms, in float64. The result is a rounded real number, so the noise is
exposed to attacks on floating point (Mironov 2012); discrete mechanisms are not, and reports say so.
"""

import math
import os

import numpy as np
from numpy.typing import NDArray

from sealora.protocol.keystream import Keystream, derive_key

BLOCK = 1 << 15
"""Pairs made at a time, so that temporaries stay in cache."""


class GaussianNoise:
    """A stream of independent standard normal draws.

    `private` is true unless the stream was made from a seed: then whoever knows the seed can take the
    noise away again, and no report may call the result private.
    """

    def __init__(self) -> None:
        self.private = True
        self._rekey()

    @classmethod
    def insecure_reproducible(cls, seed: int) -> "GaussianNoise":
        """The same draws for the same seed, for tests and debugging: not private."""
        noise = cls()
        noise.private = False
        noise._keystream = Keystream(derive_key("sealora insecure reproducible noise", seed))
        return noise

    def __repr__(self) -> str:
        return f"GaussianNoise(private={self.private})"

    def __reduce__(self) -> str:
        # Two copies of one stream would add the same noise twice, and a difference would show the data.
        raise TypeError("a noise stream is never copied")

    def float64(self, count: int, deviation: float = 1.0) -> NDArray[np.float64]:
        """`count` draws of N(0, deviation²), float64, shape (count,); none is beyond 8.6 deviations."""
        self._leave_parent_process()
        draws = np.empty(count + count % 2, dtype=np.float64)
        for start in range(0, draws.size, 2 * BLOCK):
            self._fill(draws[start : start + 2 * BLOCK])
        draws *= deviation
        return draws[:count]

    def float32(self, count: int, deviation: float = 1.0) -> NDArray[np.float32]:
        """The same draws, rounded to float32."""
        return self.float64(count, deviation).astype(np.float32)

    def _fill(self, out: NDArray[np.float64]) -> None:
        """Box–Muller: √(−2·ln u)·(cos 2πv, sin 2πv) for u in (0, 1] and v in [0, 1)."""
        uniform = (self._keystream.words32(2 * out.size).view("<u8") >> np.uint64(11)).astype(np.float64)
        pairs = out.size // 2
        radius = np.sqrt(-2 * np.log((uniform[:pairs] + 1) * 2.0**-53))
        angle = uniform[pairs:] * (2 * math.pi * 2.0**-53)
        np.multiply(radius, np.cos(angle), out=out[:pairs])
        np.multiply(radius, np.sin(angle), out=out[pairs:])

    def _leave_parent_process(self) -> None:
        """A forked child takes a key of its own, or it would draw its parent's noise."""
        if self.private and self._process != os.getpid():
            self._rekey()

    def _rekey(self) -> None:
        self._process = os.getpid()
        self._keystream = Keystream(os.urandom(32))

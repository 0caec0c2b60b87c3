"""Digits of base `radix` ↔ 64-bit words of several digits each, a block at a time.

The digits of a payload take three or four times the memory of its words, so they never all exist:
a block of them stays in the second-level cache between being made and being packed.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 14
"""Digits at a time."""


class Packer:
    """Takes digits in order and makes the words that hold them, the first digit in the lowest place."""

    def __init__(self, count: int, lanes: int, radix: int) -> None:
        """For `count` words of `lanes` digits below `radix`."""
        self._words = np.empty(count, dtype=np.uint64)
        self._lanes, self._radix = lanes, np.uint64(radix)
        self._digits = np.empty(BLOCK + lanes, dtype=np.uint64)
        self._held = self._packed = 0

    def room(self, count: int) -> NDArray[np.uint64]:
        """Where to write the next digits, at most `BLOCK`, before they are taken."""
        return self._digits[self._held : self._held + count]

    def take(self, count: int) -> None:
        """Pack the digits that were written, but for those that do not fill a word."""
        self._held += count
        whole = self._held // self._lanes
        self._pack(self._words[self._packed : self._packed + whole])
        self._packed += whole
        rest = self._digits[whole * self._lanes : self._held].copy()
        self._digits[: rest.size] = rest
        self._held = rest.size

    def finish(self) -> NDArray[np.uint64]:
        """All words, the last filled up with zeros."""
        missing = -self._held % self._lanes
        self.room(missing)[:] = 0
        self.take(missing)
        return self._words

    def _pack(self, words: NDArray[np.uint64]) -> None:
        digits = self._digits[: words.size * self._lanes].reshape(-1, self._lanes)
        words[:] = digits[:, -1]
        for lane in range(self._lanes - 2, -1, -1):
            words *= self._radix
            words += digits[:, lane]


class Unpacker:
    """Reads digits out of words in order. Raises ValueError where a word or a digit is too large."""

    def __init__(self, words: NDArray[np.uint64], lanes: int, radix: int, largest: int) -> None:
        """For words of `lanes` digits below `radix`, none of which exceeds `largest`."""
        self._words, self._lanes = words, lanes
        self._radix, self._largest = np.uint64(radix), largest
        self._digits = np.empty(0, dtype=np.uint64)
        self._unpacked = 0

    def read(self, count: int) -> NDArray[np.float64]:
        """The next `count` digits, as they are up to 2^53."""
        digits, filled = np.empty(count), 0
        while filled < count:
            if not self._digits.size:
                self._digits = self._next()
            part = self._digits[: count - filled]
            digits[filled : filled + part.size] = part
            self._digits = self._digits[part.size :]
            filled += part.size
        return digits

    def finish(self) -> None:
        """Raises ValueError unless the digits that were not read are zero."""
        if self._digits.any() or self._words[self._unpacked :].any():
            raise ValueError("a word exceeds what its contributors can have sent")

    def _next(self) -> NDArray[np.uint64]:
        """The digits of the next words. Raises IndexError behind the last."""
        rest = self._words[self._unpacked : self._unpacked + BLOCK // self._lanes]
        if not rest.size:
            raise IndexError("no digits are left")
        self._unpacked += rest.size
        digits = np.empty((rest.size, self._lanes), dtype=np.uint64)
        for lane in range(self._lanes):
            quotient = rest // self._radix  # with the product a tenth of the time that np.divmod takes
            np.subtract(rest, quotient * self._radix, out=digits[:, lane])
            rest = quotient
        if rest.any():
            raise ValueError("a word exceeds what its contributors can have sent")
        if int(digits.max()) > self._largest:
            raise ValueError("a lane exceeds what its contributors can have sent")
        return digits.reshape(-1)

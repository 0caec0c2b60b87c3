"""Payload ↔ words of the ring: the only place that scales and rounds (`packing` then packs).

Every value becomes an integer in [0, levels]; `lanes` of them share one 64-bit word as digits of
base `radix` = contributors·levels + 1, so adding up to `contributors` words never carries from one
lane into the next (the static no-overflow proof: a lane's sum is at most contributors·levels <
radix, and radix^lanes ≤ 2^64). Words are added modulo 2^64, the ring in which masks cancel.
Plain and secure sessions add the same words, so their sums are equal bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sealora.protocol.errors import PlanError
from sealora.protocol.keystream import Keystream
from sealora.protocol.packing import BLOCK, Packer, Unpacker

Words = NDArray[np.uint64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """A named run of values that are summed over sites.

    kind "real": `length` numbers in [-bound, bound], rounded stochastically to the grid.
    kind "count": `length` integers in [0, bound], carried exactly, as digits in several lanes.
    """

    name: str
    length: int
    bound: float
    kind: Literal["real", "count"] = "real"


@dataclass(frozen=True)
class Layout:
    """Where each segment's values stand in the words, for up to `contributors` summands."""

    segments: tuple[Segment, ...]
    contributors: int
    value_bits: int

    def __post_init__(self) -> None:
        if self.contributors < 1 or self.contributors * (2**self.value_bits - 1) >= 2**63:
            raise PlanError(
                f"a sum over {self.contributors} sites of {self.value_bits}-bit values overflows its words.",
                "Use fewer sites in a round or smaller values.",
            )
        names = [segment.name for segment in self.segments]
        if len(set(names)) != len(names):
            raise PlanError(f"two segments of one payload share a name: {sorted(names)}.")

    @cached_property
    def lanes(self) -> int:
        """Values in one 64-bit word."""
        return _lanes(self.contributors * (2**self.value_bits - 1) + 1)

    @cached_property
    def levels(self) -> int:
        """Largest integer of one value.

        One more lane is taken when giving up at most an eighth of the levels makes room for it.
        """
        full = 2**self.value_bits - 1
        denser = (_root(2**64, self.lanes + 1) - 1) // self.contributors
        return denser if denser >= full - full // 8 else full

    @cached_property
    def radix(self) -> int:
        """Base of the digits in a word; one more than the largest sum of a lane."""
        return self.contributors * self.levels + 1

    @cached_property
    def lanes_used(self) -> int:
        """Values in one word at the levels chosen."""
        return _lanes(self.radix)

    def digits(self, segment: Segment) -> int:
        """Lanes that one value of the segment takes."""
        if segment.kind == "real":
            return 1
        digits, reach = 1, self.levels
        while reach < segment.bound:
            digits, reach = digits + 1, reach * (self.levels + 1) + self.levels
        return digits

    @cached_property
    def values(self) -> int:
        """Lanes taken by all segments."""
        return sum(segment.length * self.digits(segment) for segment in self.segments)

    @cached_property
    def words(self) -> int:
        """64-bit words of an encoded payload."""
        return -(-self.values // self.lanes_used)

    @property
    def bytes_per_value(self) -> float:
        """Bytes on the wire for one value."""
        return 8 / self.lanes_used

    def encode(self, payload: Mapping[str, NDArray[np.generic]], rounding: Keystream) -> Words:
        """Quantise and pack one site's payload.

        Parameters: `payload` maps every segment's name to an array of its length (any float or
        integer dtype); `rounding` supplies 32 random bits per real value.
        Returns: uint64 array of shape (words,).
        Raises: ValueError where a segment is missing, misshapen, non-finite or out of its bound;
        the caller clips beforehand, so that is a bug or an attack, never a user's mistake.
        """
        if set(payload) != {segment.name for segment in self.segments}:
            raise ValueError(f"the payload's segments {sorted(payload)} are not the layout's")
        packer = Packer(self.words, self.lanes_used, self.radix)
        for segment in self.segments:
            values = payload[segment.name]
            if values.shape != (segment.length,):
                raise ValueError(f"segment {segment.name} has shape {values.shape}, not ({segment.length},)")
            if segment.kind == "real":
                self._quantise(values, segment, rounding, packer)
            else:
                self._split(values, segment, packer)
        return packer.finish()

    def decode(self, words: Words, contributors: int) -> dict[str, Values]:
        """Unpack the sum of `contributors` encoded payloads.

        Returns float64 sums by segment name, shape (length,); counts are exact up to 2^53.
        Raises: ValueError if the words are not this layout's, or no sum of that many payloads.
        """
        if words.shape != (self.words,) or not 1 <= contributors <= self.contributors:
            raise ValueError("these words are not a sum in this layout")
        digits = Unpacker(words, self.lanes_used, self.radix, contributors * self.levels)
        sums: dict[str, Values] = {}
        for segment in self.segments:
            width = self.digits(segment)
            lane = digits.read(segment.length * width)
            if segment.kind == "real":
                lane *= 2 * segment.bound / self.levels
                lane -= contributors * segment.bound
                sums[segment.name] = lane
            else:
                powers = float(self.levels + 1) ** np.arange(width)
                sums[segment.name] = lane.reshape(segment.length, width) @ powers
                if not np.all(sums[segment.name] <= contributors * segment.bound):
                    raise ValueError(f"a sum of {segment.name} exceeds what its contributors can have sent")
        digits.finish()
        return sums

    def _quantise(
        self, values: NDArray[np.generic], segment: Segment, rounding: Keystream, packer: Packer
    ) -> None:
        """Round stochastically onto the grid: floor(x + u) with u uniform on [0, 1), unbiased."""
        bound, scale = segment.bound, self.levels / (2 * segment.bound)
        scaled, uniform = np.empty((2, min(BLOCK, segment.length)))
        for start in range(0, segment.length, BLOCK):
            size = min(BLOCK, segment.length - start)
            block, offset = scaled[:size], uniform[:size]
            block[:] = values[start : start + size]
            if not (block.min() >= -bound and block.max() <= bound):  # nor is it where one is NaN
                raise ValueError(f"segment {segment.name} leaves its range of ±{bound}")
            block += bound
            block *= scale
            np.multiply(rounding.words32(size), 2.0**-32, out=offset)
            block += offset
            # Nothing is negative, so turning it into integers rounds down.
            packer.room(size).view(np.int64)[:] = np.minimum(block, self.levels, out=block)
            packer.take(size)

    def _split(self, values: NDArray[np.generic], segment: Segment, packer: Packer) -> None:
        """Write non-negative integers as digits of base levels + 1, least significant first."""
        if not np.issubdtype(values.dtype, np.integer):
            raise ValueError(f"segment {segment.name} counts, so it holds integers, not {values.dtype}")
        if not (np.all(values >= 0) and np.all(values <= segment.bound)):  # type: ignore[operator]
            raise ValueError(f"segment {segment.name} leaves its range of 0 to {segment.bound}")
        width = self.digits(segment)
        for start in range(0, segment.length, BLOCK // width):
            rest = values[start : start + BLOCK // width].astype(np.uint64)
            digits = packer.room(rest.size * width).reshape(-1, width)
            for place in range(width):
                rest, digits[:, place] = np.divmod(rest, np.uint64(self.levels + 1))
            packer.take(digits.size)


def _lanes(radix: int) -> int:
    """Most digits of base `radix` that fit into 64 bits: the largest n with radix^n ≤ 2^64."""
    lanes, reach = 0, radix
    while reach <= 2**64:
        lanes, reach = lanes + 1, reach * radix
    return lanes


def _root(number: int, degree: int) -> int:
    """Largest integer whose `degree`-th power is at most `number`."""
    low, high = 1, number
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle - 1)
    return low

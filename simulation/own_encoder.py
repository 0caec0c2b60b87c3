"""The encoder of a malicious site: any number in any place, without the checks of an honest one.

It follows the layout, so that a sum decodes, and wraps around where a number does not fit its lane.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sealora.protocol.codec import Layout, Segment, Words

UNREAL = 2.0**62
"""What a NaN becomes: no lane holds it."""


def encode_unchecked(layout: Layout, payload: Mapping[str, NDArray[np.generic]]) -> Words:
    """Round to the nearest level and pack, whatever the values: uint64 words of shape (layout.words,)."""
    digits = np.concatenate([_digits(layout, segment, payload[segment.name]) for segment in layout.segments])
    missing = layout.words * layout.lanes_used - digits.size
    lanes = np.concatenate([digits, np.zeros(missing, np.int64)]).view(np.uint64)
    words = np.zeros(layout.words, np.uint64)
    for lane in reversed(range(layout.lanes_used)):
        words = words * np.uint64(layout.radix) + lanes.reshape(layout.words, -1)[:, lane]
    return words


def _digits(layout: Layout, segment: Segment, values: NDArray[np.generic]) -> NDArray[np.int64]:
    if segment.kind == "count":
        return _count_digits(layout, segment, values.astype(np.int64))
    scaled = (values.astype(np.float64) + segment.bound) * (layout.levels / (2 * segment.bound))
    return np.rint(np.where(np.isfinite(scaled), scaled, UNREAL)).astype(np.int64)


def _count_digits(layout: Layout, segment: Segment, rest: NDArray[np.int64]) -> NDArray[np.int64]:
    """The last digit takes all that is left, however much."""
    width = layout.digits(segment)
    digits = np.empty((rest.size, width), np.int64)
    for place in range(width - 1):
        rest, digits[:, place] = np.divmod(rest, layout.levels + 1)
    digits[:, width - 1] = rest
    return digits.reshape(-1)

"""What is rounded of a part: its vector, or a public linear map of it that fits a range better.

A site multiplies every value by the part's range over its tensor's own, and turns the result by a rotation
that is new in each round; the coordinator undoes both on the sum. Both sides know them from plan and header.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sealora.plan.payload import part_range
from sealora.plan.settings import PlanSettings
from sealora.protocol.keystream import derive_key
from sealora.protocol.rotation import Rotation
from sealora.strategies.strategy import Context, Part

ROLES = {"A": "A", "B": "B", "other": "head"}
"""Keys of `codec.ranges` by the roles of tensors."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Coding:
    """One part's map in one round; the identity where the plan asks for nothing."""

    scales: Vector | None = field(default=None, repr=False)
    """Factors of single values, shape (length,)."""
    rotation: Rotation | None = None

    def forward(self, vector: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """What a site rounds, shape (length,). NaN and infinity stay what they are: not finite."""
        coded = vector if self.scales is None else vector * self.scales
        with np.errstate(invalid="ignore"):
            return coded if self.rotation is None else self.rotation.forward(coded.astype(np.float64))

    def inverse(self, total: Vector) -> Vector:
        """The sum of the vectors, from the sum of what was rounded."""
        turned = total if self.rotation is None else self.rotation.inverse(total)
        return turned if self.scales is None else turned / self.scales


def codings(plan: PlanSettings, parts: tuple[Part, ...], context: Context) -> Mapping[str, Coding]:
    """The map of each part in the round that `context` is about."""
    return {part.name: Coding(_scales(plan, part), _rotation(plan, part, context)) for part in parts}


def _rotation(plan: PlanSettings, part: Part, context: Context) -> Rotation | None:
    if not plan.codec.rotation:
        return None
    return Rotation(derive_key("sealora/v1/codec", context.seed, context.round, part.name), part.length)


def _scales(plan: PlanSettings, part: Part) -> Vector | None:
    ranges = plan.codec.ranges
    if not part.tensors or not ranges:
        return None
    own = [ranges.get(ROLES[spec.role], part_range(plan, part)) for spec in part.tensors]
    return part_range(plan, part) / np.repeat(own, [spec.size for spec in part.tensors])

"""The parts of a plan that the protocol owns."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sealora.protocol.thresholds import smallest_n_min


class Settings(BaseModel):
    """Base of every section of a plan: frozen, strict about types, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class SecureAggregationSettings(Settings):
    """Masks that let the coordinator see the sum of the sites' updates and nothing else."""

    enabled: bool = True
    """Whether updates are masked; false shows every site's update to the coordinator, and reports say so."""
    colluders: Annotated[int, Field(ge=-1, le=100_000)] = -1
    """Sites that may conspire with the coordinator in vain; -1 stands for a third of the cohort."""
    minimum_contributors: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Fewest sites whose sum is ever opened; 0 stands for the colluders and three more, the least allowed."""

    def colluders_of(self, sites: int) -> int:
        """Colluders defended against in a cohort of that many sites."""
        return sites // 3 if self.colluders == -1 else self.colluders

    def minimum_of(self, sites: int) -> int:
        """Fewest contributors of a cohort of that many sites."""
        return self.minimum_contributors or smallest_n_min(self.colluders_of(sites))


class CodecSettings(Settings):
    """How values become integers: resolution, range and clipping."""

    value_bits: Literal[2, 4, 8, 16, 32] = 16
    """Bits of a value: 8 halves the traffic if `range` fits, 4 and 2 need ranges that fit tightly, and 32
    is as fine as float32 and costs 8 bytes."""
    range: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest magnitude of one coordinate of a site's weighted update; larger updates are scaled down."""
    ranges: dict[str, float] = Field(default_factory=dict)
    """Ranges of single kinds of tensors in place of `range`, such as `{ A = 0.01, B = 0.1, head = 0.2 }`."""
    rotation: bool = False
    """Whether updates are turned by a public random rotation before they are rounded, so that no coordinate
    is much larger than the others. Worth it where few are; where all are alike, as after a few steps of
    AdamW, it makes the largest several times larger."""
    clip: Annotated[float, Field(gt=0, le=1e6)] = 100.0
    """Largest L2 norm of a site's update over all tensors together; larger updates are scaled down."""

"""The parts of a plan that the protocol owns."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every section of a plan: frozen, strict about types, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class CodecSettings(Settings):
    """How values become integers: resolution, range and clipping."""

    value_bits: Literal[8, 16] = 16
    """Bits of one quantised value; 8 halves the traffic and asks for a well-chosen `range`."""
    range: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest magnitude of one coordinate of a site's weighted update; larger updates are scaled down."""
    clip: Annotated[float, Field(gt=0, le=1e6)] = 100.0
    """Largest L2 norm of a site's update over all tensors together; larger updates are scaled down."""

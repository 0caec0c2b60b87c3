"""The part of a plan that chooses a strategy."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from sealora.protocol.settings import Settings


class StrategySettings(Settings):
    """How the sites' updates become the next model."""

    name: str = "fedavg"
    """A registered strategy; `sealora strategies` lists them."""
    weighting: Literal["examples", "contrasting", "uniform"] = "examples"
    """Whether a site counts by its training rows, by those outside its largest class (so that a site with
    one class only hardly counts), or as every other."""
    weight_cap: PositiveInt = 1000
    """Training rows beyond which a site's weight grows no more; bounds what one site can do."""
    server_learning_rate: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Step of the coordinator along the mean update; 1 replaces the model by the mean."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The strategy's own keys; `sealora strategies NAME` lists them with their defaults."""

"""FedProx: local training is held near the received model.

Li et al. 2020 (arXiv 1812.06127), equation 2: sites minimise F_k(W) + μ/2·‖W − W_t‖², so that μ·(W − W_t)
joins the gradient at each step; the coordinator's half is FedAvg's.
"""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from sealora.models.adapter import Tensors
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Card, Context, Memory, Start


class FedProxOptions(Settings):
    """How strongly sites are held back."""

    mu: Annotated[float, Field(ge=0, le=100)] = 0.01
    """Weight μ of the squared distance to the received model; 0 is FedAvg."""


class FedProx(FedAvg):
    """FedAvg with a proximal term at the sites."""

    options_class: ClassVar[type[Settings]] = FedProxOptions
    card: ClassVar[Card] = Card(
        summary="Holds sites near the common model when their data differ much.",
        source="Li et al. 2020, arXiv 1812.06127",
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._mu = np.float32(FedProxOptions.model_validate(settings.options).mu)

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """As received, with μ·(W − W_t) for the gradient."""
        start = super().local(received, first, memory, context)
        return Start(
            start.tensors,
            lambda now: {name: self._mu * (now[name] - start.tensors[name]) for name in now},
        )

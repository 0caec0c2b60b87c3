"""FedSA-LoRA: A is common, every site has a B of its own.

Guo et al. 2024 (arXiv 2410.01463), section 4: A learns what all share and is averaged; B learns what is
particular to a site, and stays there. So does the head, by choice. Every site's model is its own, and metrics
are sums over the sites of what each measures with it.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from sealora.models.adapter import AdapterLayout
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Card, Context, Memory, Payload, Trained


class FedSAOptions(Settings):
    """What stays at a site besides B."""

    head: Literal["shared", "personal"] = "shared"
    """Whether the head is averaged, or every site keeps its own."""


class FedSA(FedAvg):
    """FedAvg of A, with B and perhaps the head personal."""

    options_class: ClassVar[type[Settings]] = FedSAOptions
    card: ClassVar[Card] = Card(
        summary="Personal models: A is common, every site keeps a B of its own.",
        source="Guo et al. 2024, arXiv 2410.01463",
        factors=True,
    )

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._head = FedSAOptions.model_validate(settings.options).head

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """B is personal, and the head by choice."""
        return adapter.marked("personal", "B").marked(self._head, "other")

    def remember(
        self,
        payload: Payload,
        factors: Mapping[str, float],
        trained: Trained,
        memory: Memory,
        context: Context,
    ) -> Memory:
        """The personal tensors as they were trained."""
        return {spec.name: trained.tensors[spec.name] for spec in context.layout.of_kind("personal")}

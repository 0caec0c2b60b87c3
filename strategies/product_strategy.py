"""What strategies that aggregate products B·A have in common: see `products` for the arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from sealora.models.adapter import Tensors, cut, values_of
from sealora.protocol.errors import PlanError
from sealora.protocol.settings import Settings
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.products import Exchange, Factors, Product, needed_width, usual_width
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import (
    FIGURE,
    Aggregate,
    Context,
    Memory,
    Part,
    Payload,
    Start,
    State,
    Trained,
)

DISCLOSES = (
    "The coordinator learns the mean of the sites' products B·A, which tells more than the means of A and B: "
    "the space that the updates of all sites span together."
)


class ProductOptions(Settings):
    """How the sites' products travel."""

    exchange: Literal["sketch", "dense"] = "sketch"
    """Two sketches of each product where they are smaller than it, or always the product itself."""
    width: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Columns ℓ of a sketch; 0 takes a few more than the ranks of the cohort and of the model add up to."""
    lossy: bool = False
    """Whether `width` may be too small for that, so that the least directions of the mean are lost."""
    product_range: Annotated[float, Field(gt=0, le=1e6)] = 0.05
    """Largest magnitude of one coordinate of a sketch or product, in place of `codec.range`."""


@dataclass(frozen=True)
class Sketches:
    """What the products of one round cost a site."""

    width: int
    """ℓ; 0 if every product is sent as it is."""
    needed: int
    """The least width that loses nothing."""
    sketched: int
    """Modules whose products are sketched."""
    dense: int
    """Modules whose products are sent as they are, since that is cheaper."""
    values: int
    """Values sent for the products of all modules."""
    factors: int
    """Values of A and B of all modules at the largest rank, which FedAvg sends."""


class ProductStrategy(FedAvg):
    """FedAvg of what is shared, and the mean of the products s·B·A; both travel as differences."""

    options_class: ClassVar[type[Settings]] = ProductOptions

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._options = ProductOptions.model_validate(settings.options)

    def exchange(self, context: Context) -> Exchange:
        """How products travel in this round. Raises PlanError if the width loses some, not being `lossy`."""
        options, needed = self._options, needed_width(context)
        if options.exchange == "dense":
            return Exchange(context, 0, options.product_range)
        if 0 < options.width < needed and not options.lossy:
            raise PlanError(
                f"sketches of width {options.width} lose a part of what {context.cohort} sites send, "
                f"whose ranks and the model's add up to {needed}.",
                f"Write width = {needed} or more, 0 for as many as are needed, or lossy = true.",
            )
        return Exchange(context, options.width or usual_width(context), options.product_range)

    def sketches(self, context: Context) -> Sketches:
        """What the exchange costs."""
        exchange, pairs = self.exchange(context), context.layout.pairs
        sketched = sum(map(exchange.sketched, pairs))
        return Sketches(
            width=exchange.width,
            needed=needed_width(context),
            sketched=sketched,
            dense=len(pairs) - sketched,
            values=sum(part.length for part in exchange.parts()),
            factors=sum(values_of(pair) for pair in pairs),
        )

    def parts(self, context: Context) -> tuple[Part, ...]:
        """The shared differences, and what carries the products."""
        return (*super().parts(context), *self.exchange(context).parts())

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """As received, cut to this site's rank."""
        return Start(cut(super().local(received, first, memory, context).tensors, context.own))

    def upload(self, received: Tensors, trained: Trained, memory: Memory, context: Context) -> Payload:
        """s·B_k·A_k less the product that all began with, in the parts' form."""
        before, factors = self.begun(received, context), {}
        for a, b in context.layout.pairs:
            left = a.scale * trained.tensors[b.name].astype(np.float64)
            right = trained.tensors[a.name].astype(np.float64)
            factors[a.module] = (
                np.hstack([left, -before[a.module][0]]),
                np.vstack([right, before[a.module][1]]),
            )
        vectors = self.exchange(context).encode(factors)
        products = {name: vector.astype(np.float32) for name, vector in vectors.items()}
        return {**super().upload(received, trained, memory, context), **products}

    def begun(self, tensors: Tensors, context: Context) -> Mapping[str, Factors]:
        """The product of the round's beginning by module, as s·B and A of the largest rank."""
        return {
            a.module: (a.scale * tensors[b.name].astype(np.float64), tensors[a.name].astype(np.float64))
            for a, b in context.layout.pairs
        }

    def products(
        self, state: State, context: Context, aggregate: Aggregate
    ) -> tuple[dict[str, Product], State]:
        """M = what all began with + η·mean move, by module, and the figures to be told about it."""
        exchange = self.exchange(context)
        before = exchange.encode(self.begun(state, context))
        moved = {name: vector + self._rate * aggregate.mean(name) for name, vector in before.items()}
        found, error = exchange.decode(moved)
        sketched = any(map(exchange.sketched, context.layout.pairs))
        return found, {f"{FIGURE}sketch_error": np.array([error], np.float32)} if sketched else {}

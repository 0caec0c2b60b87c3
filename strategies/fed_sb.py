"""Fed-SB: a small matrix R between fixed A and B is all that is trained and sent.

Singhal et al. 2025 (arXiv 2502.15436): ΔW = s·B·R·A with A and B held, so that the mean of the products is
the product with the mean, Σ p_k·B·R_k·A = B·R̄·A, and r² values travel for each module, whatever its size.
The paper takes A and B from the gradients of a full update, which are of the data; here A is as drawn, B has
orthonormal columns drawn from the same seed, and R = 0 at first: more rank makes up for it.
"""

import hashlib
from typing import ClassVar

import numpy as np

from sealora.models.adapter import Adapter, AdapterLayout, Array, Tensors, TensorSpec
from sealora.models.names import core_of
from sealora.protocol.keystream import derive_key
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.products import orthonormal
from sealora.strategies.strategy import Card, Context, Memory, Start, State


class FedSB(FedAvg):
    """FedAvg of R and the head."""

    card: ClassVar[Card] = Card(
        summary="Trains r × r values for each module: the least traffic, and the least noise under privacy.",
        source="Singhal et al. 2025, arXiv 2502.15436",
        factors=True,
    )

    def layout(self, adapter: AdapterLayout, round_number: int) -> AdapterLayout:
        """A and B are frozen, with an R between them."""
        cores = (
            TensorSpec(core_of(a.module), (a.shape[0], a.shape[0]), "R", a.module, a.scale)
            for a, _ in adapter.pairs
        )
        return adapter.marked("frozen", "A").marked("frozen", "B").joined(cores)

    def init(self, model: Adapter) -> State:
        """R = 0, and B as everybody draws it."""
        cores = {
            core_of(a.module): np.zeros((a.shape[0], a.shape[0]), np.float32) for a, _ in model.layout.pairs
        }
        return {**model.tensors, **drawn_b(model.tensors, model.layout), **cores}

    def local(self, received: Tensors, first: Tensors, memory: Memory, context: Context) -> Start:
        """R and the head as received, the first A, and B as everybody draws it."""
        return super().local(received, {**first, **drawn_b(first, context.layout)}, memory, context)

    def model(self, state: State, layout: AdapterLayout) -> Adapter:
        """B·R in the place of B."""
        tensors = {spec.name: state[spec.name] for spec in layout.specs}
        cored = {b.name: state[b.name] @ state[core_of(b.module)] for _, b in layout.pairs}
        return Adapter(layout, {**tensors, **cored})


def drawn_b(first: Tensors, layout: AdapterLayout) -> dict[str, Array]:
    """B by module: the first A, drawn from the plan's seed, is the seed of its B."""
    found = {}
    for a, b in layout.pairs:
        seed = hashlib.sha256(np.ascontiguousarray(first[a.name], "<f4").tobytes()).digest()
        found[b.name] = orthonormal(derive_key("sealora/v1/fed_sb", seed, b.name), *b.shape).astype(
            np.float32
        )
    return found

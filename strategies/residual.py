"""Residuals: what a strategy adds to the base's own weights, module by module."""

import numpy as np

from sealora.models.adapter import Adapter, AdapterLayout, Array, TensorSpec
from sealora.models.names import residual_of
from sealora.strategies.products import Factors
from sealora.strategies.strategy import State

RESOLUTION = 2.0**-23
"""Of float32: singular values below this part of the whole are rounding errors of its coordinates."""


def with_residuals(adapter: AdapterLayout) -> AdapterLayout:
    """The layout with a W for each pair."""
    return adapter.joined(
        TensorSpec(residual_of(a.module), (b.shape[0], a.shape[1]), "W", a.module, kind="residual")
        for a, b in adapter.pairs
    )


def no_residuals(adapter: AdapterLayout) -> dict[str, Array]:
    """W = 0 for each pair."""
    return {residual_of(a.module): np.zeros((b.shape[0], a.shape[1]), np.float32) for a, b in adapter.pairs}


def merged(state: State, layout: AdapterLayout) -> Adapter:
    """W + s·B·A as one adapter of the layout's scale, of the rank that it takes: any peft can load it.

    Exact but for the rounding of float32. Modules of a smaller rank are filled up with zeros.
    """
    factors: dict[str, Factors] = {}
    for a, b in layout.pairs:
        product = a.scale * state[b.name].astype(np.float64) @ state[a.name].astype(np.float64)
        left, values, right = np.linalg.svd(product + state[residual_of(a.module)], full_matrices=False)
        rank = int(np.sum(values > RESOLUTION * np.linalg.norm(values)))
        factors[a.module] = (left[:, :rank] * (values[:rank] / a.scale), right[:rank])
    largest = layout.of_rank(max(1, *(len(right) for _, right in factors.values())))
    tensors = {spec.name: np.zeros(spec.shape, np.float32) for spec in largest.specs}
    tensors |= {spec.name: state[spec.name] for spec in largest.specs if spec.role == "other"}
    for a, b in largest.pairs:
        left, right = factors[a.module]
        tensors[b.name][:, : left.shape[1]] = left
        tensors[a.name][: len(right)] = right
    return Adapter(largest, tensors)

"""Tensors beyond peft's A and B: R between them, and W added to a module's own weight.

A model takes them on when they are written into it, and drops them when others are. Neither touches
the frozen base, which many sites share.
"""

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn

from sealora.models.adapter import Tensors
from sealora.models.names import core_of, residual_of


class CoredLinear(nn.Linear):
    """B with R before it: x → B·R·x, or B·x while `core` is None."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight = weight
        self.core: nn.Linear | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Shape (…, rank) → (…, out)."""
        return super().forward(values if self.core is None else self.core(values))


def fit(model: PeftModel, tensors: Tensors) -> None:
    """Give every adapted module the R and W that the tensors have for it, and no others."""
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            _fit_core(layer, core_of(name) in tensors)
            _fit_residual(layer, tensors.get(residual_of(name)))


def _fit_core(layer: LoraLayer, wanted: bool) -> None:
    """Make room for R; its values, and its shape, are written as those of A and B are."""
    for key, b in layer.lora_B.items():
        if wanted and not isinstance(b, CoredLinear):
            layer.lora_B[key] = b = CoredLinear(b.weight)
        if isinstance(b, CoredLinear) and wanted != (b.core is not None):
            rank, device = b.in_features, b.weight.device
            b.core = nn.Linear(rank, rank, bias=False, device=device) if wanted else None


def _fit_residual(layer: LoraLayer, weight: np.ndarray | None) -> None:
    if weight is None and not hasattr(layer, "residual"):
        return
    if not hasattr(layer, "residual"):
        layer.register_forward_hook(_add_residual)
    device = next(iter(layer.lora_A.values())).weight.device
    layer.residual = None if weight is None else torch.from_numpy(np.array(weight)).to(device)


def _add_residual(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """output + x·Wᵀ, with the W of the layer that it is called for: copies of a model have their own."""
    weight = layer.residual
    if layer.disable_adapters or not isinstance(weight, torch.Tensor):
        return output
    return output + nn.functional.linear(inputs[0].to(weight.dtype), weight).to(output.dtype)

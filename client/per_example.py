"""Per-example gradients of LoRA tensors and linear heads, and their clipped sum.

The gradient of a linear layer's weight is Σ_t g_t·x_tᵀ over the positions t of one example: layer
inputs x and output gradients g of one batched backward pass give it for every example at once. LoRA
makes it small (rank × in and out × rank), and nothing is computed for frozen weights.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sealora.protocol.errors import ModelError


@dataclass(frozen=True)
class _Call:
    """One use of a layer in a forward pass."""

    layer: nn.Linear
    inputs: torch.Tensor
    outputs: torch.Tensor


class PerExampleGradients:
    """Gradients by example of the named parameters, which must all belong to linear layers.

    `sequences` is how many rows of a batch, side by side, are one example's. Raises ModelError for a
    parameter that does not belong to a linear layer, or that several layers share.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter], sequences: int = 1) -> None:
        self._sequences = sequences
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._layers = list(_owners(model, self._names))
        self._calls: list[_Call] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note what the layers are given and give, for `of`; only forward passes within are noted."""
        handles = [layer.register_forward_hook(self._note) for layer in self._layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def of(self, losses: torch.Tensor) -> dict[str, torch.Tensor]:
        """Each example's gradient of its own loss, shape (examples, *parameter shape), by name.

        `losses` has shape (examples,). A parameter that the pass did not use is left out. Raises
        ModelError if a layer mixes examples, so that its first axis is not theirs.
        """
        calls, self._calls = self._calls, []
        slopes = torch.autograd.grad(losses.sum(), [call.outputs for call in calls], allow_unused=True)
        self._calls.clear()  # what layers did that were computed again on the way back
        gradients: dict[str, torch.Tensor] = {}
        for call, slope in zip(calls, slopes, strict=True):
            if slope is not None:
                self._add(gradients, call, slope, len(losses))
        return gradients

    def _note(self, layer: nn.Module, inputs: tuple[Any, ...], outputs: torch.Tensor) -> None:
        if outputs.requires_grad and isinstance(layer, nn.Linear):
            self._calls.append(_Call(layer, inputs[0].detach(), outputs))

    def _add(
        self, gradients: dict[str, torch.Tensor], call: _Call, slope: torch.Tensor, examples: int
    ) -> None:
        if slope.shape[0] != examples * self._sequences:
            raise ModelError(
                "this model computes on all examples' tokens together, so single gradients are not known.",
                "Use another model, or another implementation of its attention.",
            )
        outer = slope.reshape(examples, -1, slope.shape[-1])
        if name := self._names.get(id(call.layer.weight)):
            inner = call.inputs.reshape(examples, -1, call.inputs.shape[-1])
            _accumulate(gradients, name, torch.bmm(outer.transpose(1, 2), inner))
        if name := self._names.get(id(call.layer.bias)):
            _accumulate(gradients, name, outer.sum(dim=1))


def _accumulate(gradients: dict[str, torch.Tensor], name: str, gradient: torch.Tensor) -> None:
    """Add to what another call of the same layer gave."""
    if name in gradients:
        gradient += gradients[name]
    gradients[name] = gradient


def clipped_sum(
    gradients: Mapping[str, torch.Tensor], parameters: Mapping[str, nn.Parameter], clipping_norm: float
) -> torch.Tensor:
    """Σ_e clip(g_e): float64 on the CPU, all parameters end to end in their order, shape (values,).

    One norm over all tensors together. An example whose gradient is not finite counts as zero, for
    nothing may show that it was there.
    """
    norms = example_norms(gradients)
    lost = torch.nonzero(~torch.isfinite(norms)).flatten()
    factors = (clipping_norm / norms.clamp(min=clipping_norm)).index_fill(0, lost, 0.0)
    parts = []
    for name, parameter in parameters.items():
        if name not in gradients:
            parts.append(torch.zeros(parameter.numel(), dtype=torch.float64))
            continue
        flat = gradients[name].flatten(start_dim=1).to(torch.float64, copy=True)
        # Zero times infinity is no zero, so such rows are blanked, too.
        flat.index_fill_(0, lost, 0.0)
        parts.append((factors @ flat).cpu())
    return torch.cat(parts)


def example_norms(gradients: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Each example's joint L2 norm over all tensors, float64, shape (examples,)."""
    norms = [
        torch.linalg.vector_norm(gradient.flatten(start_dim=1), dim=1, dtype=torch.float64)
        for gradient in gradients.values()
    ]
    joint: torch.Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
    return joint


def _owners(model: nn.Module, names: Mapping[int, str]) -> Iterator[nn.Linear]:
    """The layers that hold the parameters."""
    left = dict(names)
    for module in model.modules():
        held = {id(parameter) for parameter in module.parameters(recurse=False)} & names.keys()
        if held and (type(module) is not nn.Linear or not held <= left.keys()):
            raise ModelError(
                f"{names[min(held)]} has no gradients by example: it is not of one plain linear layer.",
                "Choose other lora.target_modules, or train without a privacy guarantee.",
            )
        for key in held:
            del left[key]
        if held and isinstance(module, nn.Linear):
            yield module
    if left:
        raise ModelError(f"{min(left.values())} belongs to no layer of the model.")

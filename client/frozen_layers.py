"""Layers below the first adapted one give the same for a text every time: they are computed once for each.

What they give is computed for one text by itself, because what a batch gives depends a little on who else is
in it; so neither the order of the rows nor an interruption shows in a result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from sealora.models.batch import Batch
from sealora.models.lora import parameters_of
from sealora.protocol.errors import ModelError

States = dict[bytes, torch.Tensor]
"""Hidden states below the first adapted layer, (tokens, hidden), by the tokens of a text (int64)."""


class FrozenLayers:
    """The frozen layers of a model, and what they made of the texts met so far.

    `states` may be shared with models that have the same frozen weights. Raises ModelError if the first of
    the model's layers is adapted, or something before it is.
    """

    def __init__(self, model: PeftModel, states: States) -> None:
        self._model = model
        self._states = states
        self._layers, self._count = _frozen(model)

    @contextmanager
    def skipped(self, batch: Batch) -> Iterator[None]:
        """Within, a forward pass of this batch of texts, padded at the right, begins above those layers."""
        tokens, mask = batch.inputs["input_ids"], batch.inputs.get("attention_mask")
        lengths = [tokens.shape[1]] * len(tokens) if mask is None else mask.sum(dim=1).tolist()
        rows = [row[:length] for row, length in zip(tokens, lengths, strict=True)]
        hidden = nn.utils.rnn.pad_sequence([self._state(row) for row in rows], batch_first=True)
        with self._replaced(hidden):
            yield

    def _state(self, row: torch.Tensor) -> torch.Tensor:
        key = row.cpu().numpy().tobytes()
        found = self._states.get(key)
        if found is None:
            found = self._states[key] = self._compute(row)
        return found

    def _compute(self, row: torch.Tensor) -> torch.Tensor:
        given: list[torch.Tensor] = []
        last = self._layers[self._count - 1]
        handle = last.register_forward_hook(lambda _, __, output: given.append(output))
        try:
            # The first to meet a text may measure only, and tensors of inference mode cannot be trained on.
            with torch.inference_mode(False), torch.no_grad():
                self._model(input_ids=row.clone()[None])
        finally:
            handle.remove()
        if not isinstance(given[0], torch.Tensor):
            raise ModelError(
                "the layers of this model give more than hidden states, which cannot be kept.",
                "Remove training.cache_frozen_layers.",
            )
        return given[0][0]

    @contextmanager
    def _replaced(self, hidden: torch.Tensor) -> Iterator[None]:
        kept = [self._layers[place] for place in range(self._count)]
        try:
            for place in range(self._count):
                self._layers[place] = _Given(hidden)
            yield
        finally:
            for place, layer in enumerate(kept):
                self._layers[place] = layer


class _Given(nn.Module):
    """In the place of a layer: gives what is known."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self._hidden = hidden

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        return self._hidden


def _frozen(model: PeftModel) -> tuple[nn.ModuleList, int]:
    """The model's layers, and how many of them come before everything that is adapted."""
    adapted = {id(parameter) for parameter in parameters_of(model).values()}
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) and _is_layers(module):
            count = next((n for n, layer in enumerate(module) if _holds(layer, adapted)), len(module))
            if count:
                return module, count
            break
        if not isinstance(module, nn.ModuleList) and adapted & {
            id(parameter) for parameter in module.parameters(recurse=False)
        }:
            break
    raise ModelError(
        "training.cache_frozen_layers needs layers below the first adapted one.",
        "Set lora.last_layers to fewer than the model has, or remove cache_frozen_layers.",
    )


def _is_layers(module: nn.ModuleList) -> bool:
    return all(isinstance(layer, GradientCheckpointingLayer) for layer in module)


def _holds(layer: nn.Module, adapted: set[int]) -> bool:
    return any(id(parameter) in adapted for parameter in layer.parameters())

"""Gradient checkpointing: layers are computed again for their gradients instead of kept (arXiv 1604.06174).

Transformers does so in layers that are in training mode, and the frozen base is never in it, so that its
dropout is off. Only the outer modules of the layers are put into it, which hold no dropout themselves.
"""

from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from sealora.protocol.errors import ModelError


def enable(model: Any) -> None:
    """Let the layers of a transformers model be computed again. Raises ModelError if it has none that can."""
    if not any(isinstance(module, GradientCheckpointingLayer) for module in model.modules()):
        raise ModelError(
            "this model has no layers that can be computed again.",
            "Remove training.gradient_checkpointing.",
        )
    # Older versions of transformers know it by its other name only.
    call = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    call({"use_reentrant": False})


def begin(model: nn.Module) -> None:
    """Before training, after `eval()`: layers for which checkpointing is enabled are computed again."""
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
            module.training = True

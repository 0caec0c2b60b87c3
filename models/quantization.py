"""A frozen base of fewer bits, by bitsandbytes, on CUDA and on the CPU (LLM.int8, arXiv 2208.07339; NF4,
arXiv 2305.14314).

The adapter stays float32. A run's base model is named by the hash of the weights as they were quantised, so
all parties must quantise alike.
"""

import importlib.util
import logging
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from sealora.models.lora import HEAD_NAMES
from sealora.models.settings import ModelSettings
from sealora.models.task_card import TRAINED_HEADS
from sealora.protocol.errors import ModelError

PACKAGES = ("accelerate", "bitsandbytes")
DEVICES = ("cpu", "cuda")


def loading_options(settings: ModelSettings, device: torch.device, head: str) -> dict[str, Any]:
    """What `from_pretrained` is told. Raises ModelError if a package is missing, or for another device."""
    if settings.quantization == "none":
        return {}
    if device.type not in DEVICES:
        raise ModelError(f"{device.type} has no quantised base.", 'Set model.device to "cpu".')
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise ModelError(
                f"a quantised base needs the package {package}.", 'Run `pip install "sealora[quantization]"`.'
            )
    # It tells of every single product that it casts.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # A head that is trained stays as it is; of the others transformers leaves out what it should by itself.
    spared = list(HEAD_NAMES) if head in TRAINED_HEADS else None
    return {"quantization_config": _config(settings, device, spared), "device_map": device}


def keep_gradients(model: nn.Module) -> None:
    """Leave 4-bit weights in the one layout through which gradients flow.

    On CPUs with AVX512-BF16, bitsandbytes packs them anew in the first pass without gradients, for a product
    that has none: a base that was evaluated once would pass nothing back to the adapters below it.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _config(settings: ModelSettings, device: torch.device, spared: list[str] | None) -> BitsAndBytesConfig:
    if settings.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=spared)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        llm_int8_skip_modules=spared,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
    )

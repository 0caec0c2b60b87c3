"""A frozen base of fewer bits, by bitsandbytes, on CUDA and on the CPU (LLM.int8, arXiv 2208.07339; NF4,
arXiv 2305.14314).

The adapter stays float32. A run's base model is named by the hash of the weights as they were quantised, so
all parties must quantise alike.
"""

import importlib.util
import logging
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from sealora.models.settings import ModelSettings
from sealora.protocol.errors import ModelError

PACKAGES = ("accelerate", "bitsandbytes")


def loading_options(settings: ModelSettings, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told. Raises ModelError if a package is missing."""
    if settings.quantization == "none":
        return {}
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise ModelError(
                f"a quantised base needs the package {package}.", 'Run `pip install "sealora[quantization]"`.'
            )
    # It tells of every single product that it casts.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return {"quantization_config": _config(settings, device), "device_map": device}


def _config(settings: ModelSettings, device: torch.device) -> BitsAndBytesConfig:
    if settings.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if device.type == "cuda" else torch.float32,
    )

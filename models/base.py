"""Base models: found by name, loaded once, frozen, and named by the hash of their weights."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sealora.models.adapter import AdapterLayout
from sealora.models.assets import bundled_model
from sealora.models.lora import attach, layout_of
from sealora.models.quantization import keep_gradients, loading_options
from sealora.models.quiet import quiet
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings
from sealora.models.task import Task
from sealora.models.task_card import TRAINED_HEADS
from sealora.models.task_registry import task_card
from sealora.protocol.errors import ModelError

HEADS: dict[str, Any] = {
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
    "causal_lm": AutoModelForCausalLM,
    "masked_lm": AutoModelForMaskedLM,
}


@dataclass(frozen=True)
class Base:
    """A frozen base model with its task head, its tokenizer and the device it computes on."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    autocast: torch.dtype | None
    """Number format of matrix products where it differs from the weights'."""
    trained_head: bool = True
    """Whether the head is new and belongs to the adapter; otherwise it is part of the frozen model."""


def load_base(settings: ModelSettings, task: Task, device: str = "") -> Base:
    """Load model and tokenizer. Raises ModelError with what to do if either cannot be had."""
    source = locate(settings)
    place = torch.device(device or choose_device(settings))
    dtype, autocast = choose_dtype(settings, place)
    quantised = loading_options(settings, place, task.card.head)
    with _explained(settings), quiet():
        tokenizer = AutoTokenizer.from_pretrained(source, **_revision(settings))
        model, loaded = HEADS[task.card.head].from_pretrained(
            source,
            dtype=dtype,
            output_loading_info=True,
            **_head_options(task.settings),
            **_revision(settings),
            **quantised,
        )
    _require_whole(settings.name, model, task.card.head, loaded["missing_keys"])
    _require_fit(settings.name, model, tokenizer, task.settings.max_length)
    _adopt_padding(model, tokenizer)
    model.requires_grad_(False)
    if quantised:  # those are where they belong, and may not be moved
        keep_gradients(model)
    else:
        model = model.to(place)
    return Base(model.eval(), tokenizer, place, autocast, task.card.head in TRAINED_HEADS)


def describe(model: ModelSettings, lora: LoraSettings, task: TaskSettings) -> AdapterLayout:
    """The adapter's layout from the model's configuration alone: no weights are read."""
    head = task_card(task.name).head
    with _explained(model), quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(locate(model), **_head_options(task), **_revision(model))
        return layout_of(attach(HEADS[head].from_config(config), lora, head))


def locate(settings: ModelSettings) -> str:
    """What `from_pretrained` understands: a folder, or a hub id. Raises ModelError."""
    name = settings.name
    if name.startswith("bundled:"):
        return str(bundled_model(name.removeprefix("bundled:")))
    if name.startswith("modelscope:"):
        return _from_modelscope(name.removeprefix("modelscope:"), settings.revision)
    folder = os.path.expanduser(name)  # noqa: PTH111 - unlike Path, it leaves an unknown user's as it is
    if os.path.isdir(folder):  # noqa: PTH112
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"there is no model folder {name!r}.", "Check model.name in the plan.")
    return name


def choose_device(settings: ModelSettings) -> str:
    """The plan's device, or the best this machine has. Raises ModelError if it lacks the plan's."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if settings.device == "auto":
        return next(name for name, here in available.items() if here)
    if not available[settings.device]:
        raise ModelError(
            f"this machine has no {settings.device} device.", "Set model.device to 'auto' or 'cpu'."
        )
    return settings.device


def choose_dtype(settings: ModelSettings, device: torch.device) -> tuple[torch.dtype, torch.dtype | None]:
    """(dtype of the frozen weights, dtype of autocast or None)."""
    if settings.dtype == "auto":
        return torch.float32, torch.bfloat16 if device.type == "cuda" else None
    dtype: torch.dtype = getattr(torch, settings.dtype)
    return dtype, None if dtype == torch.float32 else dtype


def base_hash(base: Base) -> str:
    """Hex SHA-256 over the frozen weights (sorted names, shapes, float32 values) and the tokenizer.

    A head that is trained is left out: it is part of the adapter.
    """
    digest = hashlib.sha256()
    body = base.model.base_model if base.trained_head else base.model
    for name, tensor in sorted(body.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(memoryview(tensor.detach().float().cpu().contiguous().numpy()).cast("B"))
    backend = getattr(base.tokenizer, "backend_tokenizer", None)
    digest.update(backend.to_str().encode() if backend is not None else str(base.tokenizer).encode())
    return digest.hexdigest()


def _require_whole(name: str, model: PreTrainedModel, head: str, missing: Iterable[str]) -> None:
    """Transformers draws weights that it does not find at random; only a head that is trained may be new."""
    prefix = f"{model.base_model_prefix}." if head in TRAINED_HEADS else ""
    lost = sorted(key for key in missing if key.startswith(prefix))
    if lost:
        raise ModelError(
            f"the model {name!r} lacks weights of its base: {', '.join(lost[:3])}{', …' if lost[3:] else ''}",
            "Use a checkpoint that has them.",
        )


def _require_fit(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> None:
    """The tokenizer must have words, all of them known to the model, and texts must fit its positions."""
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # Where its files are missing, transformers makes up a tokenizer that knows no word.
        raise ModelError(f"the model {name!r} has no tokenizer.", "Save its tokenizer into the same folder.")
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise ModelError(
            f"the tokenizer of {name!r} has {len(tokenizer)} tokens, more than the model knows.",
            "Use the tokenizer that belongs to the model.",
        )
    positions = _positions(model)
    if positions is not None and max_length > positions:
        raise ModelError(
            f"the model {name!r} reads at most {positions} tokens, task.max_length is {max_length}.",
            f"Set task.max_length to {positions} or less.",
        )


def _positions(model: PreTrainedModel) -> int | None:
    """Longest text in tokens of a model with a table of positions; None if it has none."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rsplit(".", 1)[-1] in ("position_embeddings", "wpe"):
            # RoBERTa and its kin count positions from the one after the padding's.
            return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
    return None


def _from_modelscope(identifier: str, revision: str) -> str:
    try:
        from modelscope import snapshot_download  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ModelError("ModelScope models need the modelscope package.", "pip install modelscope") from None
    try:
        return str(snapshot_download(identifier, revision=revision or None))
    except Exception as error:
        raise ModelError(f"ModelScope could not provide {identifier!r}: {_first_line(error)}") from None


def _head_options(task: TaskSettings) -> dict[str, Any]:
    names = task_card(task.name).outputs(task)
    if not names:
        return {}
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }


def _revision(settings: ModelSettings) -> dict[str, str]:
    return {"revision": settings.revision} if settings.revision else {}


def _adopt_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Decoder-only models come without a padding token; their end token serves."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id


@contextmanager
def _explained(settings: ModelSettings) -> Iterator[None]:
    """Turn the many ways in which a hub, a folder or a configuration fails into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"the model {settings.name!r} cannot be loaded: {_first_line(error)}",
            "Use bundled:minilm, a local folder, or a hub id (HF_HUB_OFFLINE=1 allows only cached ones).",
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

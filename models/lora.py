"""LoRA on a frozen base through peft, and the bridge between torch parameters and an Adapter."""

import copy
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN_TARGETS
from peft.utils.constants import DUMMY_TARGET_MODULES as NO_TARGETS
from torch import nn

from sealora.models import additions
from sealora.models.adapter import Adapter, AdapterLayout, Array, Role, Tensors, TensorSpec, pack, unpack
from sealora.models.settings import LoraSettings
from sealora.protocol.errors import ModelError
from sealora.protocol.keystream import Keystream, derive_key

ADAPTER_NAME = "default"
TASK_TYPES = {
    "sequence_classification": TaskType.SEQ_CLS,
    "token_classification": TaskType.TOKEN_CLS,
    "causal_lm": TaskType.CAUSAL_LM,
    "masked_lm": None,
}
"""What peft makes of each head; None adds nothing to the adapted layers."""
HEAD_NAMES = ("classifier", "score")
COMMON_TARGETS = ({"query", "value"}, {"q_proj", "v_proj"}, {"q_lin", "v_lin"}, {"Wqkv"}, {"c_attn"})


def attach(model: nn.Module, settings: LoraSettings, head: str) -> PeftModel:
    """The model with a fresh LoRA adapter; only A, B and the head require gradients.

    Raises ModelError naming the linear layers there are if a target module matches none.
    """
    targets = _targets(model, settings) if settings.rank else NO_TARGETS
    config = LoraConfig(
        task_type=TASK_TYPES[head],
        r=max(settings.rank, 1),
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        layers_to_transform=_last(model, settings.last_layers) if settings.rank else None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, config)
    for parameter in parameters_of(adapted).values():
        # peft leaves the head in the base's format, and half precision would lose its small steps.
        parameter.data = parameter.data.float()
    return adapted


def _last(model: nn.Module, count: int) -> list[int] | None:
    """Numbers of the last `count` layers; None for 0, which is all. Raises ModelError if there are fewer."""
    if not count:
        return None
    layers = int(getattr(getattr(model, "config", None), "num_hidden_layers", 0))
    if count > layers:
        raise ModelError(
            f"lora.last_layers is {count}, but the model has {layers} layers.", "Lower it, or remove it."
        )
    return list(range(layers - count, layers))


def _targets(model: nn.Module, settings: LoraSettings) -> list[str]:
    targets = settings.target_modules or find_targets(model)
    names = [name for name, module in model.named_modules() if _adaptable(module)]
    linear = {name.rsplit(".", 1)[-1] for name in names}
    for target in targets:
        if not any(name == target or name.endswith("." + target) for name in names):
            raise ModelError(
                f"the model has no linear layer {target!r} for lora.target_modules.",
                f"Linear layers: {', '.join(sorted(linear - set(HEAD_NAMES)))}.",
            )
    return sorted(targets)


def find_targets(model: nn.Module) -> tuple[str, ...]:
    """The attention's query and value projections, by peft's table or by their usual names."""
    model_type = getattr(getattr(model, "config", None), "model_type", "")
    if model_type in KNOWN_TARGETS:
        return tuple(KNOWN_TARGETS[model_type])
    names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _adaptable(module)}
    for candidates in COMMON_TARGETS:
        if candidates <= names:
            return tuple(sorted(candidates))
    raise ModelError(
        f"no default target modules are known for model type {model_type!r}.",
        f"Set lora.target_modules to some of: {', '.join(sorted(names))}.",
    )


def parameters_of(model: PeftModel) -> dict[str, nn.Parameter]:
    """The adapter's parameters under the names that peft saves them by, sorted."""
    found = {
        name.replace(f".{ADAPTER_NAME}.", ".").replace(".modules_to_save.", "."): parameter
        for name, parameter in model.named_parameters()
        if f".{ADAPTER_NAME}." in name
    }
    return dict(sorted(found.items()))


def frozen_tensors(model: PeftModel) -> Iterator[torch.Tensor]:
    """Parameters and buffers that no adapter changes."""
    own = {id(parameter) for parameter in parameters_of(model).values()}
    tensors: Iterator[torch.Tensor] = chain(model.parameters(), model.buffers())
    return (tensor for tensor in tensors if id(tensor) not in own)


class SeededDropout(nn.Module):
    """Dropout from a generator of its own: trainings at the same time do not disturb each other."""

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        self.probability = probability
        self.generator = generator

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Zero each value with the probability and scale the others up, in training only."""
        if not self.training:
            return values
        draws = torch.rand(values.shape, generator=self.generator, device=self.generator.device)
        return values * (draws >= self.probability).to(values.device) / (1 - self.probability)


def seed_dropout(model: PeftModel, device: torch.device) -> torch.Generator:
    """Let every dropout before an A draw from one new generator, which is returned."""
    generator = torch.Generator(device)
    probability = model.peft_config[ADAPTER_NAME].lora_dropout
    for module in model.modules():
        if probability and hasattr(module, "lora_dropout"):
            module.lora_dropout[ADAPTER_NAME] = SeededDropout(probability, generator)
    return generator


def layout_of(model: PeftModel) -> AdapterLayout:
    """Names, shapes and roles of the adapter's tensors."""
    config = model.peft_config[ADAPTER_NAME]
    scale = config.lora_alpha / config.r
    specs = []
    for name, parameter in parameters_of(model).items():
        role, module = _role(name)
        factor = 1.0 if role == "other" else scale
        specs.append(TensorSpec(name, tuple(parameter.shape), role, module, factor))
    return AdapterLayout(tuple(specs), 0 if config.target_modules == NO_TARGETS else config.r)


def read(model: PeftModel) -> dict[str, Array]:
    """The adapter's values as float32 copies, bit-exact for float32 parameters."""
    return {name: p.detach().float().cpu().numpy().copy() for name, p in parameters_of(model).items()}


@torch.no_grad()
def write(model: PeftModel, tensors: Tensors) -> None:
    """Set the adapter's values, of whatever rank they are, and what `additions` knows beside A and B.

    Raises KeyError if one is missing.
    """
    additions.fit(model, tensors)
    for name, parameter in parameters_of(model).items():
        value = torch.from_numpy(np.array(tensors[name]))
        if value.shape == parameter.shape:
            parameter.copy_(value)
        else:
            parameter.grad = None
            parameter.data = value.to(parameter)


@contextmanager
def switched_off(model: PeftModel) -> Iterator[None]:
    """Within, the model is its base alone; gradients are then as they were before."""
    wanted = [(parameter, parameter.requires_grad) for parameter in parameters_of(model).values()]
    try:
        with model.disable_adapter():
            yield
    finally:
        # peft lets every adapter tensor require gradients again, also those that are frozen in this round.
        for parameter, requires_grad in wanted:
            parameter.requires_grad_(requires_grad)


def initial_adapter(layout: AdapterLayout, seed: int) -> Adapter:
    """First values from the plan's seed, the same on every machine.

    A is uniform on ±1/√in as peft draws it (Kaiming with a = √5), B zero; head matrices are uniform
    with standard deviation 0.02, biases zero.
    """
    return Adapter(layout, {spec.name: _initial(spec, seed) for spec in layout.specs})


def save(adapter: Adapter, model: PeftModel, folder: Path) -> None:
    """Write the adapter, of whatever rank, so that `peft.PeftModel.from_pretrained` loads it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = copy.copy(model.peft_config[ADAPTER_NAME])
    config.inference_mode = True
    if adapter.layout.rank not in (0, config.r):
        config.r, config.lora_alpha = adapter.layout.rank, config.lora_alpha / config.r * adapter.layout.rank
    config.save_pretrained(str(folder))
    (folder / "adapter_model.safetensors").write_bytes(pack(adapter.tensors))


def load(layout: AdapterLayout, folder: Path) -> Adapter:
    """Read a saved adapter, of whatever rank. Raises ModelError if it is missing or not this layout's."""
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        raise ModelError(f"there is no adapter at {path}.", "Point to the run folder of a finished run.")
    tensors = unpack(path.read_bytes())
    ranks = [len(tensors[a.name]) for a, _ in layout.pairs if tensors.get(a.name, np.zeros(())).ndim == 2]
    return Adapter(layout.of_rank(ranks[0]) if ranks else layout, tensors)


def _adaptable(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _role(name: str) -> tuple[Role, str]:
    roles: Mapping[str, Role] = {".lora_A.": "A", ".lora_B.": "B"}
    for marker, role in roles.items():
        if marker in name:
            return role, name.split(marker)[0]
    return "other", ""


def _initial(spec: TensorSpec, seed: int) -> Array:
    if spec.role == "B" or len(spec.shape) < 2:
        return np.zeros(spec.shape, np.float32)
    bound = 1 / math.sqrt(spec.shape[1]) if spec.role == "A" else 0.02 * math.sqrt(3)
    words = Keystream(derive_key("sealora/v1/initial", seed, spec.name)).words32(spec.size)
    uniform = (words.astype(np.float64) + 0.5) * 2.0**-31 - 1
    return (uniform * bound).astype(np.float32).reshape(spec.shape)

"""An adapter: the trainable tensors of a PEFT model under names that both sides know.

NumPy only, so that strategies, the coordinator and their tests need no torch.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from sealora.protocol.errors import ModelError

Array = NDArray[np.float32]
Tensors = Mapping[str, Array]
Kind = Literal["shared", "frozen", "personal", "residual"]
Role = Literal["A", "B", "other"]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an adapter.

    `role` is "A" (rank × in) or "B" (out × rank) of a LoRA pair, which `module` and `scale`
    (alpha / rank) belong to, or "other" (a classifier head). `kind` says what becomes of it in a
    round: *shared* tensors are trained and sent, *personal* ones trained and never sent, *frozen*
    ones held as they are, *residual* ones folded into the base.
    """

    name: str
    shape: tuple[int, ...]
    role: Role = "other"
    module: str = ""
    scale: float = 1.0
    kind: Kind = "shared"

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class AdapterLayout:
    """The named tensors of an adapter in their canonical order (sorted by name)."""

    specs: tuple[TensorSpec, ...]
    rank: int

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.specs]
        if names != sorted(set(names)):
            raise ModelError("an adapter's tensors must have unique names in sorted order.")

    def __getitem__(self, name: str) -> TensorSpec:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def _by_name(self) -> dict[str, TensorSpec]:
        return {spec.name: spec for spec in self.specs}

    def of_kind(self, *kinds: Kind) -> tuple[TensorSpec, ...]:
        """The specs of these kinds, in order."""
        return tuple(spec for spec in self.specs if spec.kind in kinds)

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the tensors that sites train, in order."""
        return tuple(spec.name for spec in self.of_kind("shared", "personal"))

    @property
    def pairs(self) -> tuple[tuple[TensorSpec, TensorSpec], ...]:
        """A and B of each adapted module, in the modules' order."""
        found = {(spec.module, spec.role): spec for spec in self.specs}
        return tuple((found[module, "A"], found[module, "B"]) for module, role in found if role == "A")

    @property
    def parameters(self) -> int:
        """Values in all tensors."""
        return values_of(self.specs)

    def marked(self, kind: Kind, role: Role) -> "AdapterLayout":
        """This layout with all tensors of one role of another kind."""
        specs = (replace(spec, kind=kind) if spec.role == role else spec for spec in self.specs)
        return replace(self, specs=tuple(specs))

    def check(self, tensors: Tensors) -> None:
        """Raises ModelError unless the tensors are exactly this layout's, in float32."""
        check(self.specs, tensors)


@dataclass(frozen=True)
class Adapter:
    """The values of a layout's tensors, float32."""

    layout: AdapterLayout
    tensors: Tensors = field(repr=False)

    def __post_init__(self) -> None:
        self.layout.check(self.tensors)

    def sha256(self) -> str:
        """Hex digest of names, shapes and values: equal for equal adapters on any machine."""
        digest = hashlib.sha256()
        for spec in self.layout.specs:
            digest.update(json.dumps([spec.name, spec.shape]).encode())
            digest.update(np.ascontiguousarray(self.tensors[spec.name], dtype="<f4").tobytes())
        return digest.hexdigest()

    def replace(self, tensors: Tensors) -> "Adapter":
        """This adapter with some tensors exchanged."""
        return Adapter(self.layout, {**self.tensors, **tensors})


def values_of(specs: Iterable[TensorSpec]) -> int:
    """Values in these tensors together."""
    return sum(spec.size for spec in specs)


def check(specs: Collection[TensorSpec], tensors: Tensors) -> None:
    """Raises ModelError unless the tensors are exactly those of the specs, in float32."""
    missing = {spec.name for spec in specs} - set(tensors)
    strange = set(tensors) - {spec.name for spec in specs}
    if missing or strange:
        raise ModelError(f"the adapter lacks {sorted(missing)} and has unknown {sorted(strange)}.")
    for spec in specs:
        tensor = tensors[spec.name]
        if tensor.shape != spec.shape or tensor.dtype != np.float32:
            found = f"{tensor.dtype}{tensor.shape}"
            raise ModelError(f"{spec.name} is {found}, the plan says float32{spec.shape}.")


def pack(tensors: Tensors) -> bytes:
    """Tensors as safetensors bytes, the same bytes for the same values (names sorted)."""
    return save_safetensors({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})


def unpack(raw: bytes) -> dict[str, Array]:
    """Tensors from safetensors bytes. Raises ModelError unless they are well-formed float32."""
    try:
        tensors = load_safetensors(raw)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"these bytes hold no tensors ({error}).") from None
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise ModelError(f"{name} is {tensor.dtype}, not float32.")
    return tensors


def flatten(tensors: Tensors, names: Iterable[str]) -> NDArray[np.float32]:
    """The named tensors end to end, shape (total size,)."""
    return np.concatenate([tensors[name].reshape(-1) for name in names] or [np.zeros(0, np.float32)])


def unflatten(vector: NDArray[np.floating], specs: Iterable[TensorSpec]) -> dict[str, Array]:
    """The inverse of `flatten` for these specs, as float32."""
    tensors: dict[str, Array] = {}
    start = 0
    for spec in specs:
        tensors[spec.name] = vector[start : start + spec.size].astype(np.float32).reshape(spec.shape)
        start += spec.size
    return tensors

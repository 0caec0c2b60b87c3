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
Kind = Literal["shared", "derived", "frozen", "personal", "residual"]
Role = Literal["A", "B", "R", "W", "other"]

LARGEST = 1e4
"""Largest magnitude of a value that a site accepts: thousands of times what training comes to, and so small
that a few of them multiplied are far from the end of float32."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an adapter.

    `role` is "A" (rank × in) or "B" (out × rank) of a LoRA pair, which `module` and `scale`
    (alpha / rank) belong to, or "other" (a classifier head). Strategies can add "R" (rank × rank), so that
    the pair computes scale·B·R·A, and "W" (out × in), a change of the module's own weight. `kind` says what
    becomes of a tensor in a round: *shared* ones are trained and sent, *derived* ones trained and sent only
    within something made of them, *personal* ones trained and never sent, *frozen* ones held as they are,
    *residual* ones added to the base.
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
    def training(self) -> tuple[TensorSpec, ...]:
        """The specs of the tensors that sites train, in order."""
        return self.of_kind("shared", "derived", "personal")

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the tensors that sites train, in order."""
        return tuple(spec.name for spec in self.training)

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

    def of_rank(self, rank: int) -> "AdapterLayout":
        """This layout with all adapters of another rank and of the same scale."""
        specs = (replace(spec, shape=_shape(spec, rank)) for spec in self.specs)
        return replace(self, specs=tuple(specs), rank=rank)

    def joined(self, specs: Iterable[TensorSpec]) -> "AdapterLayout":
        """This layout with more tensors."""
        return replace(self, specs=tuple(sorted((*self.specs, *specs), key=lambda spec: spec.name)))

    def only(self, names: Collection[str]) -> "AdapterLayout":
        """This layout with the tensors of these names alone."""
        return replace(self, specs=tuple(spec for spec in self.specs if spec.name in names))

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


def _shape(spec: TensorSpec, rank: int) -> tuple[int, ...]:
    """The spec's shape at that rank."""
    shapes = {"A": (rank, *spec.shape[1:]), "B": (*spec.shape[:1], rank), "R": (rank, rank)}
    return shapes.get(spec.role, spec.shape)


def cut(tensors: Tensors, layout: AdapterLayout) -> dict[str, Array]:
    """The layout's tensors out of those of a larger rank: A's first rows, B's first columns."""
    return {
        spec.name: np.ascontiguousarray(tensors[spec.name][tuple(map(slice, spec.shape))])
        for spec in layout.specs
    }


def pasted(tensors: Tensors, larger: Tensors) -> dict[str, Array]:
    """The inverse of `cut`: the larger tensors, with these in their first rows and columns."""
    whole = {name: np.array(larger[name]) for name in tensors if name in larger}
    for name, tensor in whole.items():
        tensor[tuple(map(slice, tensors[name].shape))] = tensors[name]
    return {**tensors, **whole}


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


def check_values(tensors: Tensors) -> None:
    """Raises ModelError unless every value is finite and at most `LARGEST` in magnitude."""
    for name, tensor in tensors.items():
        # Written so that NaN, which is in no order with anything, fails.
        if not (tensor.min(initial=0) >= -LARGEST and tensor.max(initial=0) <= LARGEST):
            raise ModelError(
                f"{name} holds a value that is not finite or beyond ±{LARGEST:,.0f}.",
                "Lower training.learning_rate.",
            )


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

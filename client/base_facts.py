"""The hash and the size of a plan's base model, as this site has it."""

from dataclasses import dataclass

from sealora.models.base import Base, base_hash, load_base
from sealora.models.task import load_task
from sealora.plan.settings import PlanSettings


@dataclass(frozen=True)
class BaseFacts:
    """`hash` is what `allow.models` lists; `size` the bytes of the weights."""

    hash: str
    size: int


def base_facts(plan: PlanSettings) -> BaseFacts:
    """Loads the model on the CPU. Raises ModelError if this machine does not have it."""
    base = load_base(plan.model, load_task(plan.task), device="cpu")
    return BaseFacts(base_hash(base), weights_size(base))


def weights_size(base: Base) -> int:
    """Bytes of a base model's weights."""
    return sum(tensor.numel() * tensor.element_size() for tensor in base.model.state_dict().values())

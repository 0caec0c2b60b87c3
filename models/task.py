"""A task: what turns a table's rows into features, a loss, metrics and predictions.

Every metric is a function of a *sum vector* of fixed length whose entries are non-negative
integers, so that sites' vectors can be added under masks and no site's own figures show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora.models.settings import TaskSettings
from sealora.protocol.errors import PlanError

if TYPE_CHECKING:
    import torch

Counts = NDArray[np.int64]

LOSS_UNITS = 2**16
"""A summed loss is carried as an integer number of 1/65536."""


@dataclass(frozen=True)
class Example:
    """One row, ready for the model: token ids and the target that the task's loss understands."""

    tokens: tuple[int, ...]
    target: Any
    weight: float = 1.0
    group: int | None = None
    """The row's group, numbered within its site, where the plan names a group column; never sent."""


@dataclass(frozen=True)
class SumSpec:
    """One part of the sum vector: `length` integers, each at most `bound` for one site.

    `norm` is the largest L2 norm of what one row adds under noise, to which it is clipped; 0 where the
    task does not know one, and its metrics cannot be noised.
    """

    name: str
    length: int
    bound: int
    norm: float = 0.0


class Metrics(Protocol):
    """The half of a task that the coordinator needs: sum vectors and what they mean. Needs no torch."""

    headline: str
    """The metric that stands for the others in tables and pictures; larger is better."""

    def sums(self) -> tuple[SumSpec, ...]:
        """The parts of the sum vector."""

    def metrics(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Metrics of summed sum vectors: "loss", "accuracy", …; NaN where nothing was counted."""

    def tables(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
        """JSON-ready details behind the metrics, such as the confusion matrix."""


class Task(Metrics, Protocol):
    """Built once for a run from the plan's `[task]` section; knows nothing of training or rounds."""

    settings: TaskSettings
    head: str
    """The transformers auto class that makes the model: "sequence_classification", "causal_lm", …"""

    def label(self, raw: object) -> Any:
        """A table's label value as a target. Raises DataError naming the known labels."""

    def target_tensor(self, targets: Sequence[Any], width: int) -> "torch.Tensor":
        """Targets of one batch as a tensor; `width` is the batch's padded length in tokens."""

    def losses(self, logits: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Loss of each row, shape (batch,), float32; training minimises their mean."""

    def class_bias(self, targets: Sequence[Any]) -> "torch.Tensor":
        """What the classes' frequencies among a site's targets alone add to logits, shape (K,), float32.

        Raises PlanError for a task without classes.
        """

    def count(self, logits: "torch.Tensor", targets: "torch.Tensor") -> dict[str, Counts]:
        """One batch's contribution to the sum vector, by part."""

    def predict(self, logits: "torch.Tensor") -> list[dict[str, Any]]:
        """One JSON-ready prediction for each row: label and probabilities by class name."""


def load_task(settings: TaskSettings) -> Task:
    """The task that the plan names. Raises PlanError for an unknown one."""
    found = {entry.name: entry for entry in entry_points(group="sealora.tasks")}
    if settings.name not in found:
        known = ", ".join(sorted(found))
        raise PlanError(f"there is no task named {settings.name!r}.", f"Known tasks: {known}.")
    task: Task = found[settings.name].load()(settings)
    return task

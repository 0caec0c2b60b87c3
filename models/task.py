"""A task: what turns a table's rows into examples, a loss, metrics and predictions.

Every metric is a function of a *sum vector* of fixed length whose entries are non-negative
integers, so that sites' vectors can be added under masks and no site's own figures show.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.task_card import TaskCard
from sealora.models.task_registry import task_class

if TYPE_CHECKING:
    import torch

    from sealora.models.batch import Batch

Counts = NDArray[np.int64]

LOSS_UNITS = 2**16
"""A summed loss is carried as an integer number of 1/65536."""

Cells = Mapping[str, object]
"""A row's cells by the keys of `[data]` that name their columns."""


@dataclass(frozen=True)
class Record:
    """One row as the task reads it, before it is tokenised."""

    content: Hashable
    """What the model is to read: two rows with equal content are repeated rows."""
    target: Any = None
    """What it is to answer, as the task's loss understands it; a repeated row must have the same."""
    label: str = ""
    """The class name by which rows are counted and split; empty for a task without classes."""


class UnusableRow(Exception):
    """Why a row cannot be used: one of `cleaning.REASONS`, or words of the task's own."""

    def __init__(self, reason: str, value: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.value = value
        """The unknown label, which is counted and never shown."""


@dataclass(frozen=True)
class Example:
    """One row, ready for the model: token ids and the target that the task's loss understands."""

    tokens: tuple[int, ...]
    target: Any
    weight: float = 1.0
    """The row's share in its batch's loss, outside DP-SGD: 1, or the tokens that are learnt from it."""
    group: int | None = None
    """The row's group, numbered within its site, where the plan names a group column; never sent."""
    others: tuple[tuple[int, ...], ...] = ()
    """Further sequences that the model reads, such as the rejected answer of a pair."""

    @property
    def length(self) -> int:
        """Tokens of the longest sequence: how wide a batch with this example is."""
        return max(len(self.tokens), *map(len, self.others)) if self.others else len(self.tokens)


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
    """The metric that stands for the others in tables and pictures."""
    better: Literal["higher", "lower"]
    """Which way the headline improves."""

    def sums(self) -> tuple[SumSpec, ...]:
        """The parts of the sum vector."""

    def metrics(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Metrics of summed sum vectors: "loss", "accuracy", …; NaN where nothing was counted."""

    def tables(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
        """JSON-ready details behind the metrics, such as the confusion matrix."""


class Reader(Protocol):
    """A model with an adapter, ready to read examples."""

    @property
    def model(self) -> Any:
        """The transformers model."""

    @property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""

    def outputs(self, examples: Sequence[Example]) -> "torch.Tensor":
        """The task's `forward` of these examples, float32 on the CPU, without gradients."""


class Task(Metrics, Protocol):
    """Built once for a run from the plan's `[task]` section; knows nothing of training or rounds."""

    settings: TaskSettings
    card: TaskCard

    # --- from rows to examples ---

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """What reads a row's cells: it raises UnusableRow. `data` says how a site spells things."""

    def encode(
        self, records: Sequence[Record], tokenizer: Any
    ) -> Iterator[tuple[Example | UnusableRow | None, bool]]:
        """Each record as an example of at most `max_length` tokens, and whether it was longer.

        None where too little is left of a record, an UnusableRow where it is of no use for another reason.
        """

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """A text without an answer, for `predict`."""

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """An example of these meaningless tokens, at most, with a target that depends on the number."""

    # --- from examples to losses ---

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> "Batch":
        """The examples as one batch.

        Unless `packed`, each has `card.sequences` rows of its own, side by side and in order. `seed` decides
        whatever is drawn: the same for an example in whatever batch it is.
        """

    def forward(self, model: Any, batch: "Batch") -> "torch.Tensor":
        """What the loss and the metrics need of the model's answer; the first axis is the examples'."""

    def losses(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Loss of each example, shape (examples,), float32.

        Training minimises their mean by `Example.weight`, under DP-SGD their plain mean.
        """

    def class_bias(self, targets: Sequence[Any]) -> "torch.Tensor":
        """What the classes' frequencies among a site's targets alone add to logits, shape (K,), float32.

        Raises PlanError for a task without classes.
        """

    # --- metrics and predictions ---

    def count(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> dict[str, Counts]:
        """The contribution of examples to the sum vector, by part."""

    def predict(self, reader: Reader, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """One JSON-ready prediction for each example: label and probabilities by class name, for one."""

    def line(self, prediction: Mapping[str, Any]) -> str:
        """A prediction for people, in one line."""


class Referring(Task, Protocol):
    """A task whose card says `reference`: its loss compares the model with the base alone."""

    def refer(self, example: Example, outputs: "torch.Tensor") -> Example:
        """The example with what `forward` gave for it alone, the adapter switched off; one axis less."""


MEMBERS = sorted(
    name
    for kind in (Task, Metrics)
    for name in {**kind.__annotations__, **vars(kind)}
    if not name.startswith("_") and name != "settings"
)
"""What a class needs to be a task; `settings` belong to an instance."""


def load_task(settings: TaskSettings) -> Task:
    """The task that the plan names. Raises PlanError for an unknown one."""
    task: Task = task_class(settings.name)(settings)
    return task

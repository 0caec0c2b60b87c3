"""What is known of a task without torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sealora.models.settings import TaskSettings
from sealora.protocol.settings import Settings

Head = Literal["sequence_classification", "token_classification", "causal_lm", "masked_lm"]
"""The transformers auto class that makes the model."""
TRAINED_HEADS = ("sequence_classification", "token_classification")
"""Heads that are new, trained whole, and part of the adapter; those of language models stay frozen."""


class NoOptions(Settings):
    """The options of a task that has none."""


def text_and_label(_: Any) -> tuple[str, ...]:
    """The columns of a labelled text."""
    return ("text_column", "label_column")


def labels_of(settings: TaskSettings) -> tuple[str, ...]:
    """The class names as the plan has them."""
    return settings.labels


@dataclass(frozen=True)
class TaskCard:
    """What is to be known of a task before it is made."""

    summary: str
    """What the model learns, in a sentence."""
    head: Head
    columns: Callable[[Any], tuple[str, ...]] = text_and_label
    """The keys of `[data]` (of a plan, or of a site) whose columns are read, such as "text_column"."""
    fewest_labels: int = 0
    """Fewest class names in `task.labels`; 0 for a task that has none."""
    outputs: Callable[[TaskSettings], tuple[str, ...]] = labels_of
    """Names of what a new head tells apart, and of what `data.label_map` renames to."""
    class_targets: bool = False
    """Whether every example's target is a class, or classes, whose frequencies mean something."""
    options_class: type[Settings] = NoOptions
    """The task's own keys, written in `[task.options]`."""
    fixed_rows: bool = False
    """Whether an example's tokens are the same in every batch, and in a row of their own."""
    sequences: int = 1
    """Rows of a batch that one example takes where examples are kept apart; they stand side by side."""
    sample: str = "A text of your own."
    """What to try `sealora predict` with, where the data's language and subject are not known."""
    reference: bool = False
    """Whether examples carry what the base alone makes of them: the task is then a `Referring` one."""

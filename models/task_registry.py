"""Tasks by name: ours, and those of installed packages (entry-point group `sealora.tasks`).

What a plan is checked and hashed by, a task's *card*, is known without torch for the built-in ones.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from sealora.models.settings import TaskSettings
from sealora.models.tags import TagOptions, tag_names
from sealora.protocol.errors import PlanError
from sealora.protocol.settings import Settings

GROUP = "sealora.tasks"

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
    sequences: int = 1
    """Rows of a batch that one example takes where examples are kept apart; they stand side by side."""


@dataclass(frozen=True)
class _BuiltIn:
    card: TaskCard
    place: str
    """module:class."""


BUILT_IN = {
    "classification": _BuiltIn(
        TaskCard(
            summary="One label of a text, or several.",
            head="sequence_classification",
            fewest_labels=2,
            class_targets=True,
        ),
        "sealora.models.classification:Classification",
    ),
    "token_classification": _BuiltIn(
        TaskCard(
            summary="A tag for every word, and with them named entities; `labels` are the entities' types.",
            head="token_classification",
            columns=lambda _: ("tokens_column", "tags_column"),
            fewest_labels=1,
            outputs=tag_names,
            options_class=TagOptions,
        ),
        "sealora.models.token_classification:TokenClassification",
    ),
}
"""Names that no other package can take."""


def registered() -> dict[str, EntryPoint]:
    """Where each task's class is, by name in order."""
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    ours = {name: EntryPoint(name, built_in.place, GROUP) for name, built_in in BUILT_IN.items()}
    return dict(sorted({**others, **ours}.items()))


def task_card(name: str) -> TaskCard:
    """The card of a registered task. Raises PlanError for an unknown one, or one that does not load."""
    if name in BUILT_IN:
        return BUILT_IN[name].card
    card: TaskCard = task_class(name).card
    return card


def task_class(name: str) -> Any:
    """The class registered under a name. Raises PlanError for an unknown one, or one that does not load."""
    found = registered()
    if name not in found:
        raise PlanError(f"there is no task named {name!r}.", f"Known tasks: {', '.join(found)}.")
    try:
        loaded = found[name].load()
    except Exception as error:
        # A package of somebody else's: whatever goes wrong in it is told in one line.
        raise PlanError(
            f"the task {name!r} cannot be loaded ({type(error).__name__}: {str(error)[:200]}).",
            f"Repair or remove the package that has {found[name].value}.",
        ) from None
    # Imported here because it is the interface that this registry serves.
    members = importlib.import_module("sealora.models.task").MEMBERS
    lacking = [member for member in members if not hasattr(loaded, member)]
    if lacking:
        raise PlanError(
            f"the task {name!r} lacks {', '.join(lacking)}.",
            f"It was written for another version: update the package that has {found[name].value}.",
        )
    return loaded


def task_options(settings: TaskSettings) -> Settings:
    """The task's own keys, defaults filled in. Raises PlanError for an unknown task."""
    return task_card(settings.name).options_class.model_validate(settings.options)

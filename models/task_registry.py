"""Tasks by name: ours, and those of installed packages (entry-point group `sealora.tasks`).

What a plan is checked and hashed by, a task's *card*, is known without torch for the built-in ones.
"""

import importlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sealora.models.language_settings import (
    CAUSAL_PRETRAINING,
    INSTRUCTION_TUNING,
    MASKED_PRETRAINING,
    PREFERENCE_TUNING,
)
from sealora.models.settings import TaskSettings
from sealora.models.tags import TagOptions, tag_names
from sealora.models.task_card import TaskCard
from sealora.protocol.errors import PlanError
from sealora.protocol.settings import Settings

GROUP = "sealora.tasks"


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
            fixed_rows=True,
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
            fixed_rows=True,
        ),
        "sealora.models.token_classification:TokenClassification",
    ),
    "instruction_tuning": _BuiltIn(INSTRUCTION_TUNING, "sealora.models.instruction:InstructionTuning"),
    "causal_pretraining": _BuiltIn(CAUSAL_PRETRAINING, "sealora.models.pretraining:CausalPretraining"),
    "masked_pretraining": _BuiltIn(MASKED_PRETRAINING, "sealora.models.pretraining:MaskedPretraining"),
    "preference_tuning": _BuiltIn(PREFERENCE_TUNING, "sealora.models.preference:PreferenceTuning"),
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

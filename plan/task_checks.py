"""Cross-checks of [task]: its options, and what it needs of other sections."""

from collections.abc import Iterator

from pydantic import ValidationError

from sealora.models.settings import ColumnSettings
from sealora.models.task_card import TRAINED_HEADS, TaskCard
from sealora.models.task_registry import registered, task_card
from sealora.plan.problems import Problem, did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import FileKind
from sealora.plan.validation import problems_of
from sealora.protocol.errors import PlanError


def usable(plan: PlanSettings) -> Iterator[Problem]:
    """The task must be known here, built in or from an installed package, and its options its own."""
    names = list(registered())
    if plan.task.name not in names:
        yield Problem(("task", "name"), "there is no task of this name.", did_you_mean(plan.task.name, names))
        return
    try:
        options = task_card(plan.task.name).options_class
        options.model_validate(plan.task.options)
    except PlanError as error:
        yield Problem(("task", "name"), error.message, error.remedy)
    except ValidationError as error:
        kind = FileKind("plan", "sealora plan new", options)
        yield from problems_of(error, kind, ("task", "options"))


def labels(plan: PlanSettings) -> Iterator[Problem]:
    """Classes must be there where the task has some, and be told apart."""
    task, card = plan.task, _card(plan)
    if card is None:
        return
    least = min(card.fewest_labels, 1) if task.multi_label else card.fewest_labels
    if len(task.labels) < least:
        yield Problem(
            ("task", "labels"), f"has {len(task.labels)} of at least {least} class names.", "Name them all."
        )
    if not card.fewest_labels and (task.labels or task.multi_label):
        needless = "labels" if task.labels else "multi_label"
        yield Problem(("task", needless), f"{task.name} has no classes.", "Remove this line.")
    elif task.multi_label and not card.class_targets:
        yield Problem(
            ("task", "multi_label"), f"{task.name} chooses one label each time.", "Remove this line."
        )
    seen: set[str] = set()
    for index, label in enumerate(task.labels):
        key = ("task", "labels", index)
        if label in seen:
            yield Problem(key, "the same label twice.", "Keep one.")
        seen.add(label)
        if not label.strip():
            yield Problem(key, "an empty label.", "Give the class a name.")
        if task.multi_label and "|" in label:
            yield Problem(key, "holds '|', which separates the labels of a text.", "Rename the class.")


def label_map(plan: PlanSettings) -> Iterator[Problem]:
    """Values of the label column can only be renamed to labels that exist."""
    card = _card(plan)
    try:
        known = card.outputs(plan.task) if card is not None else plan.task.labels
    except ValidationError:
        return  # `usable` tells
    for value, label in plan.data.label_map.items():
        names = label.split("|") if plan.task.multi_label else [label]
        for name in names:
            if name not in known:
                remedy = did_you_mean(name, known)
                yield Problem(("data", "label_map", value), "is renamed to no label of the task.", remedy)


def columns(plan: PlanSettings) -> Iterator[Problem]:
    """Each of the columns that the task reads holds something else."""
    card = _card(plan)
    first: dict[str, str] = {}
    for key in card.columns(plan.data) if card is not None else ():
        column = getattr(plan.data, key)
        if column in first:
            what, other = _noun(key), _noun(first[column])
            yield Problem(("data", key), f"is the {other} column too.", f"Name the column with the {what}s.")
        first.setdefault(column, key)


def class_frequencies(plan: PlanSettings) -> Iterator[Problem]:
    """What depends on how frequent classes are needs classes, and weights need one class for each text."""
    card = _card(plan)
    if card is None:
        return
    if plan.strategy.weighting == "contrasting" and (plan.task.multi_label or not card.class_targets):
        yield Problem(
            ("strategy", "weighting"),
            "compares classes, of which each text must have one.",
            'Write weighting = "examples".',
        )
    if plan.training.label_calibration and not card.class_targets:
        yield Problem(
            ("training", "label_calibration"), "needs a classification.", "Write label_calibration = 0.0."
        )
    if plan.simulation.partition == "dirichlet" and (plan.task.multi_label or not card.class_targets):
        yield Problem(
            ("simulation", "partition"), "dirichlet skews single labels.", 'Use "iid", "size" or "natural".'
        )


def something_trains(plan: PlanSettings) -> Iterator[Problem]:
    """Without adapters only a head is left, and a language model's own stays as it is."""
    card = _card(plan)
    if card is not None and card.head not in TRAINED_HEADS and not plan.lora.rank:
        yield Problem(("lora", "rank"), f"{plan.task.name} trains no head.", "Set a rank of 1 or more.")


def frozen_layers(plan: PlanSettings) -> Iterator[Problem]:
    """What is computed once needs layers that stay as they are, and texts that come back as they were."""
    if not plan.training.cache_frozen_layers:
        return
    key, lora = ("training", "cache_frozen_layers"), plan.lora
    card = _card(plan)
    if card is not None and not card.fixed_rows:
        yield Problem(key, f"{plan.task.name} gives the model other rows every time.", "Remove it.")
    elif lora.rank and not lora.last_layers and not lora.target_modules:
        yield Problem(
            key,
            "all layers are adapted.",
            "Set lora.last_layers, such as to 1, or remove cache_frozen_layers.",
        )


def unread_columns(plan: PlanSettings) -> Iterator[Problem]:
    """Columns that are named, but not those of this task."""
    card = _card(plan)
    if card is None:
        return
    read = card.columns(plan.data)
    for key in sorted(plan.data.model_fields_set & set(ColumnSettings.model_fields)):
        if key not in read:
            yield Problem(("data", key), f"has no effect in this plan: {plan.task.name} does not read it.")


def _noun(key: str) -> str:
    return key.removesuffix("_column")


def _card(plan: PlanSettings) -> TaskCard | None:
    """The card of the plan's task; None if `usable` says why there is none."""
    try:
        return task_card(plan.task.name)
    except PlanError:
        return None

"""Cross-checks of [strategy]: its options, and what its arithmetic needs of other sections."""

from collections.abc import Iterator

from pydantic import ValidationError

from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.plan.problems import Problem, did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import FileKind
from sealora.plan.validation import problems_of
from sealora.protocol.errors import PlanError
from sealora.strategies.registry import load_strategy, registered, strategy_class
from sealora.strategies.strategy import Card, Strategy

ANY_ADAPTER = AdapterLayout(
    (
        TensorSpec("head", (1, 1)),
        TensorSpec("layer.lora_A", (1, 1), "A", "layer"),
        TensorSpec("layer.lora_B", (1, 1), "B", "layer"),
    ),
    rank=1,
)
"""Shows which kinds of tensors a strategy makes."""


def usable(plan: PlanSettings) -> Iterator[Problem]:
    """The strategy must be known here, built in or from an installed package, and its options its own."""
    names = list(registered())
    if plan.strategy.name not in names:
        remedy = did_you_mean(plan.strategy.name, names)
        yield Problem(("strategy", "name"), "there is no strategy of this name.", remedy)
        return
    try:
        options = strategy_class(plan.strategy.name).options_class
        options.model_validate(plan.strategy.options)
    except PlanError as error:
        yield Problem(("strategy", "name"), error.message, error.remedy)
    except ValidationError as error:
        kind = FileKind("plan", "sealora plan new", options)
        yield from problems_of(error, kind, ("strategy", "options"))


def factors(plan: PlanSettings) -> Iterator[Problem]:
    """Without adapters there are no factors to treat apart."""
    if _card(plan).factors and plan.lora.rank == 0:
        yield Problem(
            ("lora", "rank"),
            f"{plan.strategy.name} treats A and B apart, and rank 0 has neither.",
            'Raise the rank, or write name = "fedavg" in [strategy].',
        )


def gradient_steps(plan: PlanSettings) -> Iterator[Problem]:
    """Where a site's move is taken for a sum of gradients, the local optimiser must make it one."""
    if not _card(plan).only_sgd:
        return
    reason = f"{plan.strategy.name} takes a site's steps to be plain gradient steps."
    if plan.training.optimizer != "sgd":
        yield Problem(("training", "optimizer"), reason, 'Write optimizer = "sgd".')
    if plan.training.momentum:
        yield Problem(("training", "momentum"), reason, "Write momentum = 0.0.")


def written_rate(plan: PlanSettings) -> Iterator[Problem]:
    """A default that moves every value by 1 would be a trap."""
    if _card(plan).rate == "written" and "server_learning_rate" not in plan.strategy.model_fields_set:
        yield Problem(
            ("strategy", "name"),
            f"{plan.strategy.name} moves each value by about server_learning_rate in a round; it is not set.",
            "Write server_learning_rate = 0.01 and try values around it.",
        )


def unused_rate(plan: PlanSettings) -> Iterator[Problem]:
    """Some methods set their own step."""
    if _card(plan).rate == "none" and plan.strategy.server_learning_rate != 1:
        yield Problem(
            ("strategy", "server_learning_rate"),
            f"has no effect with {plan.strategy.name}, which sets the step itself.",
        )


def personal_metrics(plan: PlanSettings) -> Iterator[Problem]:
    """Metrics on a public table are of one model, and personal tensors make many."""
    strategy = _strategy(plan)
    if strategy is None or not plan.privacy.private or plan.privacy.metrics != "public":
        return
    if strategy.layout(ANY_ADAPTER, 1).of_kind("personal"):
        yield Problem(
            ("privacy", "metrics"),
            f"{plan.strategy.name} keeps tensors at the sites, so there is no one model to measure.",
            'Write metrics = "withheld".',
        )


def _card(plan: PlanSettings) -> Card:
    strategy = _strategy(plan)
    return strategy.card if strategy is not None else Card("", "")


def _strategy(plan: PlanSettings) -> Strategy | None:
    """The plan's strategy; None if `usable` says why there is none."""
    try:
        return load_strategy(plan.strategy)
    except (PlanError, ValidationError):
        return None

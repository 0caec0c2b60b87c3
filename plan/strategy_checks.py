"""Cross-checks of [strategy]: its options, and what its arithmetic needs of other sections."""

from collections.abc import Iterator

from pydantic import ValidationError

from sealora.plan.problems import Problem, did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import FileKind
from sealora.plan.validation import problems_of
from sealora.protocol.errors import PlanError
from sealora.strategies.registry import registered, strategy_class
from sealora.strategies.strategy import Card


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


def needs(plan: PlanSettings) -> Iterator[Problem]:
    """What the strategy's card says that it cannot do without."""
    card = _card(plan)
    if card is not None and card.roles and plan.lora.rank == 0:
        yield Problem(
            ("lora", "rank"),
            f"{plan.strategy.name} treats {' and '.join(card.roles)} apart, and rank 0 has neither.",
            'Raise the rank, or use name = "fedavg" in [strategy].',
        )


def _card(plan: PlanSettings) -> Card | None:
    try:
        return strategy_class(plan.strategy.name).card
    except PlanError:
        return None  # `usable` says why

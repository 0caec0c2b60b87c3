"""Cross-checks of [strategy]: its options, and what its arithmetic needs of other sections."""

from collections.abc import Iterator

from pydantic import ValidationError

from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.plan.payload import round_context, simulated_members
from sealora.plan.problems import Problem, did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import FileKind
from sealora.plan.validation import problems_of
from sealora.protocol.errors import PlanError
from sealora.strategies.registry import BUILT_IN, load_strategy, registered, strategy_class
from sealora.strategies.strategy import Card, Strategy

WIDE = 2**24
ANY_ADAPTER = AdapterLayout(
    (
        TensorSpec("head", (1, 1)),
        TensorSpec("layer.lora_A", (1, WIDE), "A", "layer"),
        TensorSpec("layer.lora_B", (WIDE, 1), "B", "layer"),
    ),
    rank=1,
)
"""Shows which kinds of tensors a strategy makes, and what it sends of a layer that is as wide as any."""


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


def ranks(plan: PlanSettings) -> Iterator[Problem]:
    """Sites' own ranks are lower than the largest, and the strategy must know what to do with them."""
    for name, rank in plan.lora.ranks.items():
        if not 1 <= rank <= plan.lora.rank:
            yield Problem(
                ("lora", "ranks", name),
                f"{rank} is not between 1 and lora.rank = {plan.lora.rank}.",
                "Set lora.rank to the largest rank of all sites.",
            )
    lower = any(rank != plan.lora.rank for rank in plan.lora.ranks.values())
    if lower and _strategy(plan) is not None and not _card(plan).mixed_ranks:
        others = ", ".join(f'"{name}"' for name in BUILT_IN if strategy_class(name).card.mixed_ranks)
        yield Problem(
            ("lora", "ranks"),
            f"{plan.strategy.name} adds up adapters of one rank only.",
            f"Remove ranks, or write name = one of {others} in [strategy].",
        )


def sketches(plan: PlanSettings) -> Iterator[Problem]:
    """What the strategy sends must carry what the cohort can make of it, whatever the model's shape."""
    strategy = _strategy(plan)
    if strategy is None or plan.lora.rank == 0:
        return
    wide = ANY_ADAPTER.of_rank(plan.lora.rank)
    sites = plan.cohort.size or plan.simulation.sites
    try:
        strategy.parts(round_context(plan, strategy, wide, 1, sites, simulated_members(plan, sites)))
    except PlanError as error:
        yield Problem(("strategy", "options"), error.message, error.remedy)


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

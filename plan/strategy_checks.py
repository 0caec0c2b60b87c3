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
from sealora.protocol.thresholds import tolerance
from sealora.strategies.registry import BUILT_IN, load_strategy, registered, strategy_class
from sealora.strategies.robust import RobustOptions
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


def record_privacy(plan: PlanSettings) -> Iterator[Problem]:
    """A strategy may need what no site tells under a guarantee."""
    if plan.privacy.private and not _card(plan).record_privacy:
        others = ", ".join(f'"{name}"' for name in BUILT_IN if strategy_class(name).card.record_privacy)
        yield Problem(
            ("privacy", "guarantee"),
            f"{plan.strategy.name} needs figures about rows, which no site tells under a guarantee.",
            f"Write name = one of {others} in [strategy].",
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


def hidden_updates(plan: PlanSettings) -> Iterator[Problem]:
    """Secure aggregation hides what a rule over single updates compares."""
    strategy = _strategy(plan)
    if strategy is not None and strategy.sees == "each" and plan.secure_aggregation.enabled:
        yield Problem(
            ("strategy", "name"),
            f"{plan.strategy.name} compares single updates, which secure aggregation hides.",
            f"Write options.groups = {strategy.least} or more in [strategy], to compare the sums of fixed "
            "groups, or enabled = false in [secure_aggregation].",
        )


def enough_to_compare(plan: PlanSettings) -> Iterator[Problem]:
    """Attackers must be few among what is compared."""
    strategy = _strategy(plan)
    if strategy is None or strategy.sees == "sum":
        return
    found, what = (strategy.groups, "groups") if strategy.groups else (contributors(plan), "sites")
    if found < strategy.least:
        yield Problem(
            ("strategy", "options", "groups" if strategy.groups else "attackers"),
            f"{plan.strategy.name} needs {strategy.least} {what} against so many attackers, and there are "
            f"{found}.",
            f"Take more {what}, or withstand fewer attackers.",
        )


def groups(plan: PlanSettings) -> Iterator[Problem]:
    """Groups are fixed, so that everybody is asked, and each is a session that must be possible."""
    strategy = _strategy(plan)
    if strategy is None or not strategy.groups:
        return
    if plan.cohort.size:
        yield Problem(
            ("cohort", "size"), "groups are fixed, and all their sites are asked.", "Remove it, or write 0."
        )
    count, sites, settings = strategy.groups, plan.simulation.sites, plan.secure_aggregation
    smallest = sites // count
    problem = "a group without sites." if not smallest else ""
    if smallest and settings.enabled:
        problem = tolerance(smallest, settings.colluders_of(smallest), settings.minimum_of(smallest)).problem
    if problem:
        yield Problem(
            ("strategy", "options", "groups"),
            f"{count} groups of {sites} sites have {smallest} in the smallest: {problem}",
            "Make fewer groups, take more sites, or lower secure_aggregation.colluders (0 trusts all others "
            "in a group).",
        )


def shown_anyway(plan: PlanSettings) -> Iterator[Problem]:
    """Groups are for sums that hide something."""
    strategy = _strategy(plan)
    if strategy is not None and strategy.groups and not plan.secure_aggregation.enabled:
        yield Problem(
            ("strategy", "options", "groups"),
            "the coordinator sees the update of every site, and could compare those.",
            "Remove it, or enable secure aggregation.",
        )


def attackers(plan: PlanSettings) -> Iterator[Problem]:
    """Poisoned labels need labels that can be told apart."""
    one_class = plan.task.name == "classification" and not plan.task.multi_label
    for site, kind in plan.simulation.attackers.items():
        if kind in ("label_flip", "backdoor") and not one_class:
            yield Problem(
                ("simulation", "attackers", site),
                f"{kind} needs a classification with one class for each text.",
                'Write "sign_flip", or another that does not touch labels.',
            )


def more_attackers(plan: PlanSettings) -> Iterator[Problem]:
    """What a rule promises ends with the attackers that it was told of."""
    strategy, found = _strategy(plan), len(plan.simulation.attackers)
    told = strategy.options_class.model_validate(plan.strategy.options) if strategy is not None else None
    if isinstance(told, RobustOptions) and found > told.attackers:
        yield Problem(
            ("simulation", "attackers"),
            f"{found} sites attack, and {plan.strategy.name} withstands {told.attackers}.",
            f"Write options.attackers = {found} in [strategy], or let it fail.",
        )


def groups_of(plan: PlanSettings) -> int:
    """The number of fixed groups; 0 without any, or if `usable` says why there is no strategy."""
    strategy = _strategy(plan)
    return strategy.groups if strategy is not None else 0


def contributors(plan: PlanSettings) -> int:
    """The most sites that a round of this plan asks, as far as the plan alone knows."""
    return plan.cohort.size or plan.simulation.sites


def _card(plan: PlanSettings) -> Card:
    strategy = _strategy(plan)
    return strategy.card if strategy is not None else Card("", "")


def _strategy(plan: PlanSettings) -> Strategy | None:
    """The plan's strategy; None if `usable` says why there is none."""
    try:
        return load_strategy(plan.strategy)
    except (PlanError, ValidationError):
        return None

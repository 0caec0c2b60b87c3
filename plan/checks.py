"""Cross-checks: combinations of settings that are each fine alone.

*Errors* cannot be run or contradict themselves; *warnings* can, but something written has no effect
or will probably disappoint. Every check is one function that yields problems; a new section adds
its own to `ERRORS` or `WARNINGS`.
"""

from collections.abc import Callable, Iterator

from sealora.plan import privacy_checks, strategy_checks, task_checks
from sealora.plan.coding import ROLES
from sealora.plan.problems import Problem, did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.plan.strategy_checks import contributors
from sealora.protocol.codec import Layout
from sealora.protocol.errors import PlanError
from sealora.protocol.messages import MAX_COHORT
from sealora.protocol.settings import CodecSettings
from sealora.protocol.thresholds import tolerance

MAX_EXACT = 2**53
"""Largest sum of counts that float64 carries exactly."""

MAX_RANGE = 1e6
"""Largest range of a coordinate."""

Check = Callable[[PlanSettings], Iterator[Problem]]


def errors(plan: PlanSettings) -> list[Problem]:
    """Why the plan cannot be run; empty if it can."""
    return [problem for check in ERRORS for problem in check(plan)]


def warnings(plan: PlanSettings) -> list[Problem]:
    """What is doubtful about a plan that can be run."""
    return [problem for check in WARNINGS for problem in check(plan)]


def row_filter(plan: PlanSettings) -> Iterator[Problem]:
    """A filter needs a value."""
    data = plan.data
    if data.filter_column and not data.filter_value:
        yield Problem(
            ("data", "filter_column"), "nothing to select.", "Set data.filter_value to the value to keep."
        )


def microbatch(plan: PlanSettings) -> Iterator[Problem]:
    """Gradients of equal microbatches add up to a batch; batches of secret size are cut anyhow."""
    batch, part = plan.training.batch_size, plan.training.microbatch_size
    if part and batch % part and not plan.privacy.private:
        divisors = ", ".join(str(size) for size in range(min(part, batch), 0, -1) if batch % size == 0)
        yield Problem(
            ("training", "microbatch_size"),
            f"{part} does not divide the batch of {batch}.",
            f"Use one of {divisors}.",
        )


def momentum(plan: PlanSettings) -> Iterator[Problem]:
    """AdamW has its own moments."""
    if plan.training.optimizer == "adamw" and plan.training.momentum:
        yield Problem(("training", "momentum"), "belongs to sgd.", 'Remove it or set optimizer = "sgd".')


def target_modules(plan: PlanSettings) -> Iterator[Problem]:
    """Each layer is adapted once."""
    seen = {""}
    for index, name in enumerate(plan.lora.target_modules):
        if name in seen:
            yield Problem(("lora", "target_modules", index), "an empty or repeated name.", "Remove it.")
        seen.add(name)


def secure_aggregation(plan: PlanSettings) -> Iterator[Problem]:
    """The thresholds must leave a session that can end, and hide what they promise."""
    settings, sites = plan.secure_aggregation, contributors(plan)
    if not settings.enabled or strategy_checks.groups_of(plan):
        return  # `strategy_checks.groups` says it of groups
    outcome = tolerance(sites, settings.colluders_of(sites), settings.minimum_of(sites))
    if outcome.problem:
        yield Problem(
            ("secure_aggregation", "colluders"),
            outcome.problem,
            "Take more sites, fewer colluders (0 trusts every site), or write enabled = false.",
        )


def unmasked(plan: PlanSettings) -> Iterator[Problem]:
    """A plan may do without masks, but not silently."""
    if not plan.secure_aggregation.enabled:
        yield Problem(
            ("secure_aggregation", "enabled"),
            "the coordinator will see the update of every site.",
            "Remove this line to mask them.",
        )


def checkpointing(plan: PlanSettings) -> Iterator[Problem]:
    """Layers that are computed again must drop the same values again, and dropout has draws of its own."""
    if plan.training.gradient_checkpointing and plan.lora.dropout:
        yield Problem(
            ("training", "gradient_checkpointing"),
            "computes layers again, and lora.dropout would drop other values then.",
            "Write dropout = 0.0 in [lora].",
        )


def quantization(plan: PlanSettings) -> Iterator[Problem]:
    """Fewer bits need a device that has them; a guarantee needs rows that do not touch each other."""
    model = plan.model
    if model.quantization != "none" and model.device == "mps":
        yield Problem(
            ("model", "quantization"),
            "is for CUDA and CPUs.",
            'Write device = "cpu", or leave this line out.',
        )
    if model.quantization == "int8" and plan.privacy.private:
        # LLM.int8 keeps columns exact where any row of a batch has an outlier (arXiv 2208.07339, section 3).
        yield Problem(
            ("model", "quantization"),
            "with int8 a row changes what the model makes of others in its batch, so clipping does not bound "
            "its share.",
            'Write quantization = "int4", or "none".',
        )


def partition(plan: PlanSettings) -> Iterator[Problem]:
    """How a simulation deals rows must be possible with these rows."""
    simulation = plan.simulation
    if simulation.partition == "natural" and not simulation.partition_column:
        yield Problem(
            ("simulation", "partition"),
            "natural sites need a column.",
            "Set partition_column to the column of sites.",
        )


def cohort(plan: PlanSettings) -> Iterator[Problem]:
    """A cohort must fit into a message and, where a simulation is described, into its sites."""
    size, simulation = plan.cohort.size, plan.simulation
    if size > MAX_COHORT:
        yield Problem(("cohort", "size"), f"a round has at most {MAX_COHORT:,} sites.", "Draw fewer.")
    if (
        "sites" in simulation.model_fields_set
        and simulation.partition != "natural"
        and size > simulation.sites
    ):
        yield Problem(
            ("cohort", "size"),
            f"{size} sites cannot be drawn from {simulation.sites}.",
            "Raise simulation.sites or lower cohort.size (0 takes all).",
        )


def codec(plan: PlanSettings) -> Iterator[Problem]:
    """Sums over the cohort must fit the codec's words."""
    try:
        Layout((), contributors(plan), plan.codec.value_bits)
    except PlanError as error:
        yield Problem(("cohort", "size"), error.message, error.remedy)
    if plan.strategy.weight_cap * contributors(plan) > MAX_EXACT:
        yield Problem(("strategy", "weight_cap"), "the sum of all weights is not exact.", "Lower it.")


def ranges(plan: PlanSettings) -> Iterator[Problem]:
    """Ranges are of kinds of tensors that there are, and of a size."""
    for kind, reach in plan.codec.ranges.items():
        key = ("codec", "ranges", kind)
        if kind not in ROLES.values():
            yield Problem(key, "is no kind of tensors.", did_you_mean(kind, list(ROLES.values())))
        elif not 0 < reach <= MAX_RANGE:
            yield Problem(key, f"must be more than 0 and at most {MAX_RANGE:g}, not {reach:g}.")


def unused_keys(plan: PlanSettings) -> Iterator[Problem]:
    """Keys that are set, but only mean something under another setting."""
    simulation, data, model, lora = plan.simulation, plan.data, plan.model, plan.lora
    conditions = (
        (
            simulation.partition == "natural",
            simulation,
            "simulation",
            "partition_column",
            'partition = "natural"',
        ),
        (
            simulation.partition == "dirichlet",
            simulation,
            "simulation",
            "dirichlet_alpha",
            'partition = "dirichlet"',
        ),
        (simulation.partition == "size", simulation, "simulation", "size_rule", 'partition = "size"'),
        (bool(data.filter_column), data, "data", "filter_value", "a filter_column"),
        (not model.name.startswith("bundled:"), model, "model", "revision", "a hub's model"),
        (bool(lora.rank), lora, "lora", "target_modules", "a lora.rank above 0"),
        (bool(lora.rank), lora, "lora", "dropout", "a lora.rank above 0"),
    )
    for used, settings, section, key, wanted in conditions:
        if not used and getattr(settings, key) != type(settings).model_fields[key].default:
            yield Problem((section, key), f"has no effect without {wanted}.")


def codec_range(plan: PlanSettings) -> Iterator[Problem]:
    """No coordinate exceeds the norm, so a wider range only costs resolution."""
    if plan.codec.range > plan.codec.clip:
        yield Problem(
            ("codec", "range"),
            f"is wider than codec.clip = {plan.codec.clip}, which wastes resolution.",
            "Lower it.",
        )


def few_levels(plan: PlanSettings) -> Iterator[Problem]:
    """Four bits are fifteen levels over the whole range: it has to fit."""
    if plan.codec.value_bits < 8 and plan.codec.range == CodecSettings.model_fields["range"].default:
        yield Problem(
            ("codec", "value_bits"),
            f"{2**plan.codec.value_bits - 1} levels over the whole range lose most of what is small.",
            "Write a range just above the largest coordinate of an update, or ranges by kind of tensor.",
        )


def losses(plan: PlanSettings) -> Iterator[Problem]:
    """Simulated losses should leave the quorum standing."""
    expected = (1 - plan.simulation.dropout_rate) * (1 - plan.simulation.straggler_rate)
    if expected < plan.cohort.quorum:
        yield Problem(
            ("cohort", "quorum"),
            f"only {expected:.0%} of the simulated sites answer in an average round: most will fail.",
            "Lower the quorum, dropout_rate or straggler_rate.",
        )


def half_precision(plan: PlanSettings) -> Iterator[Problem]:
    """Most CPUs emulate half precision."""
    if plan.model.device == "cpu" and plan.model.dtype in ("float16", "bfloat16"):
        yield Problem(
            ("model", "dtype"), "half precision is many times slower on a CPU.", 'Use "float32" or "auto".'
        )


ERRORS: tuple[Check, ...] = (
    task_checks.usable,
    task_checks.labels,
    task_checks.label_map,
    task_checks.columns,
    task_checks.class_frequencies,
    task_checks.something_trains,
    task_checks.frozen_layers,
    row_filter,
    microbatch,
    momentum,
    target_modules,
    checkpointing,
    quantization,
    partition,
    cohort,
    codec,
    ranges,
    secure_aggregation,
    strategy_checks.usable,
    strategy_checks.factors,
    strategy_checks.ranks,
    strategy_checks.sketches,
    strategy_checks.gradient_steps,
    strategy_checks.written_rate,
    strategy_checks.record_privacy,
    strategy_checks.personal_metrics,
    strategy_checks.hidden_updates,
    strategy_checks.enough_to_compare,
    strategy_checks.groups,
    strategy_checks.attackers,
    privacy_checks.promises,
    privacy_checks.ledgers,
    privacy_checks.units,
    privacy_checks.false_claims,
)
WARNINGS: tuple[Check, ...] = (
    unused_keys,
    codec_range,
    few_levels,
    losses,
    half_precision,
    unmasked,
    task_checks.unread_columns,
    strategy_checks.unused_rate,
    strategy_checks.shown_anyway,
    strategy_checks.more_attackers,
    privacy_checks.large_delta,
    privacy_checks.expected_batch,
    privacy_checks.no_effect,
)

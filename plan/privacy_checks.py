"""Cross-checks of [privacy]: a plan must not promise what its other settings break."""

from collections.abc import Iterator
from pathlib import Path

from sealora.plan.problems import Problem
from sealora.plan.settings import PlanSettings
from sealora.privacy.settings import PrivacySettings

SMALLEST = {"epsilon": 1e-6, "delta": 1e-12, "sampling_rate": 1e-9, "expected_batch": 1e-3}
"""Least values of the keys that a guarantee needs; below them the accountants' rounding would decide."""
SMALLEST_NOISE = 1e-3
LARGEST_EPSILON = 1e6


def promises(plan: PlanSettings) -> Iterator[Problem]:
    """A guarantee needs its budget and its public constants."""
    if not plan.privacy.private:
        return
    for key, least in SMALLEST.items():
        if getattr(plan.privacy, key) < least:
            yield Problem(
                ("privacy", key), f"is needed for a guarantee, and at least {least:g}.", _WRITE[key]
            )
    for key in ("noise_multiplier", "metrics_noise"):
        if 0 < getattr(plan.privacy, key) < SMALLEST_NOISE:
            yield Problem(
                ("privacy", key),
                "so little noise hides nothing.",
                f"Use at least {SMALLEST_NOISE:g}, or 0 to have it calibrated from the budget.",
            )
    if plan.privacy.metrics == "public" and not plan.privacy.public_holdout:
        yield Problem(
            ("privacy", "metrics"),
            "there is no public table to compute them on.",
            'Name one in public_holdout, or write metrics = "withheld".',
        )


_WRITE = {
    "epsilon": "Write epsilon = 8.0, or less for more privacy.",
    "delta": "Write a tenth of one over a site's units, or less: delta = 1e-5.",
    "sampling_rate": "Write the share of a site's units in one step, such as sampling_rate = 0.1.",
    "expected_batch": "Write sampling_rate times the units that a site is publicly known to have.",
}


def ledgers(plan: PlanSettings) -> Iterator[Problem]:
    """Ledgers that are to outlive a run must be found again, and budgets be budgets."""
    folder = plan.simulation.ledgers
    if folder and not (folder.startswith("~") or Path(folder).is_absolute()):
        yield Problem(
            ("simulation", "ledgers"),
            "a relative path is another folder, with nothing spent, wherever else a run is started.",
            "Write a path that begins with / or ~.",
        )
    for site, budget in plan.simulation.budgets.items():
        if not SMALLEST["epsilon"] <= budget <= LARGEST_EPSILON:
            yield Problem(
                ("simulation", "budgets", site),
                "is no budget.",
                f"Use an ε from {SMALLEST['epsilon']:g} to {LARGEST_EPSILON:g}.",
            )


def units(plan: PlanSettings) -> Iterator[Problem]:
    """Who names groups expects them to be protected, and groups that nobody names cannot be."""
    if not plan.privacy.private:
        return
    if plan.privacy.unit == "record" and plan.data.group_column:
        yield Problem(
            ("data", "group_column"),
            'groups of rows are not protected with unit = "record".',
            'Write unit = "group" under [privacy], or remove this line.',
        )
    if plan.privacy.unit == "group" and plan.data.path and not plan.data.group_column:
        yield Problem(
            ("privacy", "unit"),
            "which rows belong together is not known.",
            "Name their column in data.group_column.",
        )


def false_claims(plan: PlanSettings) -> Iterator[Problem]:
    """Settings under which what leaves a site would depend on a row by more than the noise hides."""
    if not plan.privacy.private:
        return
    if plan.strategy.weighting != "uniform":
        yield Problem(
            ("strategy", "weighting"),
            "weights by rows would release each site's number of rows.",
            'Write weighting = "uniform".',
        )
    if plan.data.drop_duplicates:
        yield Problem(
            ("data", "drop_duplicates"),
            "whether a row is used would depend on other rows, so one row could change two.",
            "Write drop_duplicates = false, and remove repeated rows before.",
        )
    if plan.training.label_calibration:
        yield Problem(
            ("training", "label_calibration"),
            "makes the gradient of each row depend on the labels of the others.",
            "Write label_calibration = 0.0.",
        )
    if plan.lora.dropout:
        yield Problem(
            ("lora", "dropout"), "is not supported with record-level privacy.", "Write dropout = 0.0."
        )
    if plan.model.dtype in ("float16", "bfloat16"):
        yield Problem(
            ("model", "dtype"),
            "half precision is too coarse for gradients that are clipped one by one.",
            'Write "float32" or "auto".',
        )
    if plan.model.quantization == "int4" and plan.model.device in ("auto", "cuda"):
        yield Problem(
            ("model", "quantization"),
            "int4 computes in half precision on CUDA, too coarse for gradients that are clipped one by one.",
            'Write "none", or device = "cpu".',
        )


def large_delta(plan: PlanSettings) -> Iterator[Problem]:
    """δ is the chance that the promise fails, for every unit: it must be far below one over their number."""
    units = _units(plan) if plan.privacy.private else 0.0
    if units and plan.privacy.delta > 1 / (10 * units):
        yield Problem(
            ("privacy", "delta"),
            f"is large for the {units:,.0f} {_NAMES[plan.privacy.unit]} of a site.",
            f"Use at most {1 / (10 * units):.1g}.",
        )


def expected_batch(plan: PlanSettings) -> Iterator[Problem]:
    """A divisor far from the batches that come makes steps too long or too short."""
    if not plan.privacy.private or not plan.data.rows or plan.privacy.unit == "group":
        return
    batch = plan.privacy.sampling_rate * _units(plan)
    if not 0.5 <= plan.privacy.expected_batch / batch <= 2:
        yield Problem(
            ("privacy", "expected_batch"),
            f"a site's batch will hold about {batch:.3g} rows.",
            "Set it, or sampling_rate, accordingly.",
        )


def no_effect(plan: PlanSettings) -> Iterator[Problem]:
    """Keys that are set, but mean something with or without a guarantee only."""
    if not plan.privacy.private:
        for key, info in PrivacySettings.model_fields.items():
            if getattr(plan.privacy, key) != info.default:
                yield Problem(("privacy", key), 'has no effect without guarantee = "record".')
        for key in ("ledgers", "budgets"):
            if getattr(plan.simulation, key):
                yield Problem(("simulation", key), 'has no effect without guarantee = "record".')
        return
    for section, key, instead in (
        ("training", "batch_size", "privacy.sampling_rate decides"),
        ("training", "max_gradient_norm", "privacy.clipping_norm decides"),
        ("data", "test_fraction", "all rows train, for metrics on them would be releases"),
    ):
        settings = getattr(plan, section)
        if getattr(settings, key) != type(settings).model_fields[key].default:
            yield Problem((section, key), f"has no effect with a guarantee: {instead}.")
    if plan.privacy.metrics_noise and plan.privacy.metrics != "noised":
        yield Problem(("privacy", "metrics_noise"), 'has no effect without metrics = "noised".')
    if plan.privacy.records_per_unit and plan.privacy.unit == "record":
        yield Problem(("privacy", "records_per_unit"), 'has no effect without unit = "group".')
    if plan.privacy.public_holdout and plan.privacy.metrics != "public":
        yield Problem(("privacy", "public_holdout"), 'has no effect without metrics = "public".')


_NAMES = {"record": "rows", "group": "groups"}


def _units(plan: PlanSettings) -> float:
    """Units of a site: from the data if the plan limits its rows, else as the public constants imply."""
    if plan.data.rows and plan.privacy.unit == "record":
        return plan.data.rows / plan.simulation.sites
    return plan.privacy.nominal_units

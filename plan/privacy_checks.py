"""Cross-checks of [privacy]: a plan must not promise what its other settings break."""

from collections.abc import Iterator

from sealora.plan.problems import Problem
from sealora.plan.settings import PlanSettings
from sealora.privacy.settings import PrivacySettings

SMALLEST = {"epsilon": 1e-6, "delta": 1e-12, "sampling_rate": 1e-9, "expected_batch": 1e-3}
"""Least values of the keys that a guarantee needs; below them the accountants' rounding would decide."""
SMALLEST_NOISE = 1e-3


def promises(plan: PlanSettings) -> Iterator[Problem]:
    """A guarantee needs its budget and its public constants."""
    if not plan.privacy.private:
        return
    for key, least in SMALLEST.items():
        if getattr(plan.privacy, key) < least:
            yield Problem(
                ("privacy", key), f"is needed for a guarantee, and at least {least:g}.", _WRITE[key]
            )
    if 0 < plan.privacy.noise_multiplier < SMALLEST_NOISE:
        yield Problem(
            ("privacy", "noise_multiplier"),
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
    "delta": "Write a tenth of one over a site's rows, or less: delta = 1e-5.",
    "sampling_rate": "Write the share of a site's rows in one step, such as sampling_rate = 0.1.",
    "expected_batch": "Write sampling_rate times the rows that a site is publicly known to have.",
}


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


def large_delta(plan: PlanSettings) -> Iterator[Problem]:
    """δ is the chance that the promise fails, for every row: ten rows' worth of it is too much."""
    rows = _rows(plan) if plan.privacy.private else 0.0
    if rows and plan.privacy.delta > 1 / (10 * rows):
        yield Problem(
            ("privacy", "delta"),
            f"is large for the {rows:,.0f} rows of a site.",
            f"Use at most {1 / (10 * rows):.1g}.",
        )


def expected_batch(plan: PlanSettings) -> Iterator[Problem]:
    """A divisor far from the batches that come makes steps too long or too short."""
    if not plan.privacy.private or not plan.data.rows:
        return
    batch = plan.privacy.sampling_rate * _rows(plan)
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
        return
    for section, key, instead in (
        ("training", "batch_size", "privacy.sampling_rate decides"),
        ("training", "max_gradient_norm", "privacy.clipping_norm decides"),
        ("data", "test_fraction", "all rows train, for metrics on them would be releases"),
    ):
        settings = getattr(plan, section)
        if getattr(settings, key) != type(settings).model_fields[key].default:
            yield Problem((section, key), f"has no effect with a guarantee: {instead}.")
    if plan.privacy.public_holdout and plan.privacy.metrics != "public":
        yield Problem(("privacy", "public_holdout"), 'has no effect without metrics = "public".')


def _rows(plan: PlanSettings) -> float:
    """Rows of a site: from the data if the plan limits it, else as the public constants imply."""
    if plan.data.rows:
        return plan.data.rows / plan.simulation.sites
    return plan.privacy.nominal_rows

"""Which sites are asked in a round, and how many of them must contribute."""

import math
from collections.abc import Sequence, Sized

import numpy as np

from sealora.plan.cohort_sizes import cohort_sizes
from sealora.plan.settings import PlanSettings
from sealora.protocol.errors import RunError
from sealora.protocol.keystream import derive_key
from sealora.protocol.messages import Work
from sealora.protocol.thresholds import floor
from sealora.strategies.registry import load_strategy


def select_cohort(
    plan: PlanSettings, sites: Sequence[str], round_number: int, excluded: frozenset[str], work: Work
) -> tuple[str, ...]:
    """All sites, or to train `cohort.size` of them, drawn without replacement from the plan's seed; sorted.

    The final evaluation asks everyone, so that its figures are those of all sites' rows.

    Raises RunError if nobody is left.
    """
    eligible = sorted(set(sites) - excluded)
    if not eligible:
        raise RunError(
            f"no site is left for round {round_number}.", "See the refusals above; then resume the run."
        )
    if work == Work.EVALUATE or not 0 < plan.cohort.size < len(eligible):
        return tuple(eligible)
    generator = np.random.default_rng(list(derive_key("sealora/v1/cohort", plan.seed, round_number)))
    return tuple(sorted(generator.choice(eligible, plan.cohort.size, replace=False).tolist()))


def quorum(plan: PlanSettings, cohort: Sized) -> int:
    """Fewest contributors, or groups with a sum, for a round to count."""
    return max(1, math.ceil(plan.cohort.quorum * len(cohort)))


def fewest(plan: PlanSettings, sites: Sequence[str]) -> int:
    """Fewest sites with which an attempt of these sites can succeed, so that waiting for them is worth it."""
    strategy = load_strategy(plan.strategy)
    sizes = cohort_sizes(plan, min(len(sites), plan.cohort.size or len(sites)))
    if not strategy.groups:
        return max(_fewest(plan, sizes[0]), strategy.least)
    needed = max(quorum(plan, sizes), strategy.least)
    return sum(_fewest(plan, size) for size in sizes[-needed:])


def _fewest(plan: PlanSettings, cohort: int) -> int:
    """Of one session."""
    secure, share = plan.secure_aggregation, quorum(plan, range(cohort))
    if not secure.enabled:
        return share
    return max(share, floor(cohort, secure.colluders_of(cohort), secure.minimum_of(cohort)))

"""Fixed groups of sites, where a strategy compares the sums of groups: who belongs to which.

They follow from the plan's seed and the names of all sites, so every party finds the same ones, and they
stay the same from round to round: groups that changed would let the coordinator compare their sums.
"""

from collections.abc import Collection

from sealora.plan.settings import PlanSettings
from sealora.protocol.errors import PlanError
from sealora.protocol.keystream import derive_key
from sealora.strategies.registry import load_strategy


def fixed_groups(seed: int, sites: Collection[str], count: int) -> tuple[tuple[str, ...], ...]:
    """`count` groups of all sites, whose sizes differ by one at most; members sorted.

    Raises PlanError if there are fewer sites than groups.
    """
    if len(set(sites)) < count:
        raise PlanError(
            f"{len(set(sites))} sites do not make {count} groups.", "Bring more sites, or make fewer groups."
        )
    dealt = sorted(set(sites), key=lambda site: derive_key("sealora/v1/groups", seed, site))
    return tuple(tuple(sorted(dealt[start::count])) for start in range(count))


def group_of(seed: int, sites: Collection[str], count: int, site: str) -> tuple[str, ...]:
    """The group that a site belongs to. Raises PlanError as `fixed_groups` does, KeyError for a stranger."""
    for group in fixed_groups(seed, sites, count):
        if site in group:
            return group
    raise KeyError(site)


def cohort_sizes(plan: PlanSettings, sites: int) -> tuple[int, ...]:
    """Sites in each session of a round that asks so many, largest first: one, or one for each group."""
    count = load_strategy(plan.strategy).groups
    if not count:
        return (sites,)
    return tuple((sites - start + count - 1) // count for start in range(count))

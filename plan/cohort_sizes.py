"""How many sites there are in each session of a round: all of them, or those of a fixed group."""

from sealora.plan.settings import PlanSettings
from sealora.strategies.registry import load_strategy


def cohort_sizes(plan: PlanSettings, sites: int) -> tuple[int, ...]:
    """Sites in each session of a round that asks so many, largest first: one, or one for each group."""
    count = load_strategy(plan.strategy).groups
    if not count:
        return (sites,)
    return tuple((sites - start + count - 1) // count for start in range(count))

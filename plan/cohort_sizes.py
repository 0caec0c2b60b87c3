"""The sessions of a round, of all sites or of fixed groups: how large they are, and whom they withstand."""

from sealora.plan.settings import PlanSettings
from sealora.protocol.graph import Shape, shape
from sealora.protocol.thresholds import floor, threshold
from sealora.strategies.registry import load_strategy


def cohort_sizes(plan: PlanSettings, sites: int) -> tuple[int, ...]:
    """Sites in each session of a round that asks so many, largest first: one, or one for each group."""
    count = load_strategy(plan.strategy).groups
    if not count:
        return (sites,)
    return tuple((sites - start + count - 1) // count for start in range(count))


def session_shape(plan: PlanSettings, sites: int) -> Shape:
    """Who holds shares of whom, and whom it withstands, in a secure session of that many sites."""
    settings = plan.secure_aggregation
    colluders, least = settings.colluders_of(sites), settings.minimum_of(sites)
    return shape(sites, colluders, threshold(sites, colluders), floor(sites, colluders, least))

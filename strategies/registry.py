"""Strategies by name: ours and those of installed packages (entry-point group `sealora.strategies`)."""

from importlib.metadata import entry_points

from sealora.protocol.errors import PlanError
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Strategy


def load_strategy(settings: StrategySettings) -> Strategy:
    """The strategy that the plan names. Raises PlanError for an unknown one."""
    found = {entry.name: entry for entry in entry_points(group="sealora.strategies")}
    if settings.name not in found:
        known = ", ".join(sorted(found))
        raise PlanError(f"there is no strategy named {settings.name!r}.", f"Known strategies: {known}.")
    strategy: Strategy = found[settings.name].load()(settings)
    return strategy

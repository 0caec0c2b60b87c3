"""Strategies by name: ours, and those of installed packages (entry-point group `sealora.strategies`)."""

from importlib.metadata import EntryPoint, entry_points

from sealora.protocol.errors import PlanError
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Strategy

GROUP = "sealora.strategies"
BUILT_IN = {
    "fedavg": "sealora.strategies.fedavg:FedAvg",
    "fedprox": "sealora.strategies.fedprox:FedProx",
    "scaffold": "sealora.strategies.scaffold:Scaffold",
    "feddyn": "sealora.strategies.feddyn:FedDyn",
    "fedavgm": "sealora.strategies.fedavgm:FedAvgM",
    "fedadagrad": "sealora.strategies.fedadagrad:FedAdagrad",
    "fedadam": "sealora.strategies.fedadam:FedAdam",
    "fedyogi": "sealora.strategies.fedyogi:FedYogi",
    "ffa": "sealora.strategies.ffa:FFA",
    "rolora": "sealora.strategies.rolora:RoLoRA",
    "fedsvd": "sealora.strategies.fedsvd:FedSVD",
    "fedsa": "sealora.strategies.fedsa:FedSA",
    "fed_sb": "sealora.strategies.fed_sb:FedSB",
    "hetlora": "sealora.strategies.hetlora:HetLoRA",
    "fedex": "sealora.strategies.fedex:FedEx",
    "flexlora": "sealora.strategies.flexlora:FlexLoRA",
    "flora": "sealora.strategies.flora:FLoRA",
    "median": "sealora.strategies.median:Median",
    "trimmed_mean": "sealora.strategies.trimmed_mean:TrimmedMean",
    "krum": "sealora.strategies.krum:Krum",
    "multi_krum": "sealora.strategies.multi_krum:MultiKrum",
    "geometric_median": "sealora.strategies.geometric_median:GeometricMedian",
    "norm_bound": "sealora.strategies.norm_bound:NormBound",
}
"""Names that no other package can take."""
MEMBERS = sorted(name for name in {**Strategy.__annotations__, **vars(Strategy)} if not name.startswith("_"))
"""What a class needs to be a strategy."""


def registered() -> dict[str, EntryPoint]:
    """Where each strategy's class is, by name in order."""
    others = {entry.name: entry for entry in entry_points(group=GROUP)}
    ours = {name: _built_in(name) for name in BUILT_IN}
    return dict(sorted({**others, **ours}.items()))


def strategy_class(name: str) -> type[Strategy]:
    """The class registered under a name. Raises PlanError for an unknown one, or one that does not load."""
    entry = _entry(name)
    try:
        loaded: type[Strategy] = entry.load()
    except Exception as error:
        # A package of somebody else's: whatever goes wrong in it is told in one line.
        raise PlanError(
            f"the strategy {name!r} cannot be loaded ({type(error).__name__}: {str(error)[:200]}).",
            f"Repair or remove the package that has {entry.value}.",
        ) from None
    lacking = [member for member in MEMBERS if not hasattr(loaded, member)]
    if lacking:
        raise PlanError(
            f"the strategy {name!r} lacks {', '.join(lacking)}.",
            f"It was written for another version: update the package that has {entry.value}.",
        )
    return loaded


def load_strategy(settings: StrategySettings) -> Strategy:
    """The strategy that the plan names. Raises PlanError for an unknown one."""
    return strategy_class(settings.name)(settings)


def _entry(name: str) -> EntryPoint:
    """One of ours is found without a look at every installed package: a plan's hash asks for it each time."""
    if name in BUILT_IN:
        return _built_in(name)
    found = registered()
    if name not in found:
        raise PlanError(f"there is no strategy named {name!r}.", f"Known strategies: {', '.join(found)}.")
    return found[name]


def _built_in(name: str) -> EntryPoint:
    return EntryPoint(name, BUILT_IN[name], GROUP)

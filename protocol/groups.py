"""Fixed groups of sites, where a plan compares the sums of groups: who belongs to which.

They follow from the plan's seed and the names of all sites, so every party finds the same ones, and they
stay the same from round to round: groups that changed would let the coordinator compare their sums.
"""

from collections.abc import Collection

from sealora.protocol.errors import PlanError, ProtocolError
from sealora.protocol.keystream import derive_key


def fixed_groups(seed: int, sites: Collection[str], count: int) -> tuple[tuple[str, ...], ...]:
    """`count` groups of all sites, whose sizes differ by one at most, larger ones first; members sorted.

    Raises PlanError if there are fewer sites than groups.
    """
    if len(set(sites)) < count:
        raise PlanError(
            f"{len(set(sites))} sites do not make {count} groups.", "Bring more sites, or make fewer groups."
        )
    dealt = sorted(set(sites), key=lambda site: derive_key("sealora/v1/groups", seed, site))
    return tuple(tuple(sorted(dealt[start::count])) for start in range(count))


def check_group(cohort: Collection[str], seed: int, members: Collection[str], count: int, site: str) -> None:
    """Raises ProtocolError("wrong_group") unless a cohort lies within the group of one of the members."""
    own = next((group for group in fixed_groups(seed, members, count) if site in group), ())
    if not set(cohort) <= set(own):
        raise ProtocolError("wrong_group", "the cohort is not within this site's fixed group")

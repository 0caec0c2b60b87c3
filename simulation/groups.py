"""Groups of rows in a simulation: dealt to sites as wholes, and counted where they are at several."""

from collections.abc import Mapping, Sequence

import datasets

from sealora.models.settings import DataSettings
from sealora.models.table import check_column, group_name
from sealora.plan.settings import SimulationSettings
from sealora.simulation.partition import partition

Shares = dict[str, list[int]]


def deal(table: datasets.Dataset, data: DataSettings, settings: SimulationSettings, seed: int) -> Shares:
    """Row indices by site: see `partition`. With a group column whole groups are dealt, not rows.

    Groups then count as one in `minimum_rows` and have the label of their first row, and natural sites
    may share groups: their column decides. Raises UsageError as `partition` does.
    """
    if not data.group_column or settings.partition == "natural":
        return partition(table, settings, data.label_column, seed)
    groups = _groups(table, data.group_column)
    shares = partition(table.select([rows[0] for rows in groups]), settings, data.label_column, seed)
    return {site: sorted(row for group in dealt for row in groups[group]) for site, dealt in shares.items()}


def _groups(table: datasets.Dataset, column: str) -> list[list[int]]:
    """Row indices by group, in the order of first rows; a row without a group is one by itself."""
    check_column(table, column, "data.group_column")
    groups: dict[object, list[int]] = {}
    for row, cell in enumerate(table[column]):
        groups.setdefault(group_name(cell) or row, []).append(row)
    return list(groups.values())


def shared_by(
    table: datasets.Dataset, column: str, shares: Mapping[str, Sequence[int]]
) -> set[frozenset[str]]:
    """The largest sets of sites at which one group has rows; only sets of two or more sites."""
    cells = table[column]
    sites: dict[str, set[str]] = {}
    for site, rows in shares.items():
        for name in {group_name(cells[row]) for row in rows} - {""}:
            sites.setdefault(name, set()).add(site)
    found = {frozenset(names) for names in sites.values() if len(names) > 1}
    return {names for names in found if not any(names < other for other in found)}

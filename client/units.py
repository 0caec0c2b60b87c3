"""Units of privacy: which rows belong together."""

from collections.abc import Sequence

from sealora.models.task import Example
from sealora.protocol.errors import DataError


def units_of(examples: Sequence[Example], unit: str) -> list[list[int]]:
    """Row numbers by unit, in the order of their first rows: one each, or those of one group together.

    Raises DataError for a row whose group is unknown: it would be protected on its own.
    """
    if unit == "record":
        return [[row] for row in range(len(examples))]
    groups: dict[int, list[int]] = {}
    for row, example in enumerate(examples):
        if example.group is None:
            raise DataError("the plan protects groups, but no group is known.", "Set data.group_column.")
        groups.setdefault(example.group, []).append(row)
    return list(groups.values())

"""What a plan's public figures mean for the rows that this site really has, told to its operator alone."""

from pathlib import Path

from sealora.client.site_config import data_settings
from sealora.client.site_settings import SiteSettings
from sealora.models.table import group_name, read_table
from sealora.models.task_registry import task_card
from sealora.plan.settings import PlanSettings
from sealora.privacy.statement import UNITS
from sealora.protocol.errors import DataError


def doubts(plan: PlanSettings, settings: SiteSettings, folder: Path) -> list[str]:
    """Warnings about a private plan, from this site's table; `folder` is that of site.toml."""
    if not plan.privacy.private:
        return []
    try:
        units = count_units(plan, settings, folder)
    except DataError as error:
        return [f"whether δ is small enough here is not known: {error}"]
    most = 1 / (10 * units) if units else 1.0
    if plan.privacy.delta <= most:
        return []
    return [
        f"δ = {plan.privacy.delta:g} is large for this site, which has up to {units:,} of what is protected "
        f"as one ({UNITS[plan.privacy.unit][0]}): ask for a plan with {most:.1g} or less."
    ]


def count_units(plan: PlanSettings, settings: SiteSettings, folder: Path) -> int:
    """Rows of the table, or groups of them, before cleaning. Raises DataError if it cannot be read."""
    where = data_settings(plan, settings, folder)
    table = read_table(where, task_card(plan.task.name).columns(where))
    if plan.privacy.unit == "record":
        return len(table)
    return len({group_name(cell) for cell in table[where.group_column]} - {""})

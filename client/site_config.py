"""Loads site.toml as plans are loaded: every mistake with its line and a remedy."""

import re
from collections.abc import Iterator
from datetime import time
from pathlib import Path

from pydantic import ValidationError

from sealora.client.site_settings import SiteSettings
from sealora.models.data_path import expand
from sealora.models.settings import ColumnSettings, DataSettings
from sealora.models.task_registry import task_card
from sealora.plan.contract import SITE_DATA_KEYS
from sealora.plan.locator import locate
from sealora.plan.problems import Problem, did_you_mean, raise_for
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import FileKind, parse, read_text
from sealora.plan.validation import problems_of, schema_problems, value_problems, with_tuples
from sealora.protocol.errors import DataError, PlanError

SITE = FileKind("site.toml", "sealora site init", SiteSettings)
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


def load(path: Path) -> SiteSettings:
    """The settings in a file. Raises PlanError with a line for each mistake."""
    return from_text(read_text(path, SITE), str(path))


def from_text(text: str, name: str = "site.toml") -> SiteSettings:
    """The settings that a TOML text holds; `name` stands for the file in messages. Raises PlanError."""
    try:
        table, lines = parse(text, name, SITE), locate(text)
        raise_for(schema_problems(table, SITE), name, lines)
        raise_for(value_problems(table), name, lines)
        settings = SiteSettings.model_validate(with_tuples(table))
    except ValidationError as error:
        raise_for(problems_of(error, SITE), name, lines)
        raise
    except RecursionError:
        raise PlanError(f"{name}: nested too deeply to be a site.toml.") from None
    raise_for([problem for check in CHECKS for problem in check(settings)], name, lines)
    return settings


def data_settings(plan: PlanSettings, site: SiteSettings, folder: Path) -> DataSettings:
    """How this site reads its rows: what the plan says to all sites, and the rest from site.toml.

    A relative path starts at `folder`, that of site.toml. Raises DataError if the plan protects groups of
    rows and the site does not say which rows belong together, or if the path is in no known home folder.
    """
    own = {key: getattr(site.data, key) for key in SITE_DATA_KEYS}
    if not plan.privacy.private or plan.privacy.unit == "record":
        own["group_column"] = ""
    elif not site.data.group_column:
        raise DataError("the plan protects groups of rows.", "Name their column in data.group_column.")
    if not site.data.path.startswith("bundled:"):
        own["path"] = str(folder / expand(site.data.path))
    return plan.data.model_copy(update=own)


def window(text: str) -> tuple[time, time]:
    """(from, to) of `HH:MM-HH:MM`; past midnight where `to` is not later. Raises ValueError."""
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError
    start_hour, start_minute, end_hour, end_minute = map(int, found.groups())
    return time(start_hour, start_minute), time(end_hour, end_minute)


def columns(settings: SiteSettings, plan: PlanSettings) -> tuple[str, ...]:
    """The columns of the table that a plan's task uses, each once. Raises PlanError for an unknown task."""
    keys = (*task_card(plan.task.name).columns(settings.data), "filter_column", "group_column")
    named = [getattr(settings.data, key) for key in keys]
    return tuple(dict.fromkeys(column for column in named if column))


def _columns_allowed(settings: SiteSettings) -> Iterator[Problem]:
    allowed = settings.allow.columns
    # Which columns count depends on the plan's task; `columns` is checked when a plan is known.
    written = sorted(settings.data.model_fields_set & set(ColumnSettings.model_fields))
    for key in (*written, "filter_column", "group_column"):
        column = getattr(settings.data, key)
        if allowed and column and column not in allowed:
            yield Problem(
                ("data", key), "is a column that allow.columns does not list.", did_you_mean(column, allowed)
            )


def _columns_differ(settings: SiteSettings) -> Iterator[Problem]:
    if settings.data.text_column == settings.data.label_column:
        yield Problem(("data", "label_column"), "is the text column too.", "Name the column with the labels.")


def _hours(settings: SiteSettings) -> Iterator[Problem]:
    for index, text in enumerate(settings.limits.hours):
        try:
            window(text)
        except ValueError:
            yield Problem(
                ("limits", "hours", index), "is no time of the day.", 'Write it like "20:00-06:00".'
            )


def _epsilons(settings: SiteSettings) -> Iterator[Problem]:
    limits = settings.limits
    if 0 < limits.epsilon_for_ever < limits.epsilon_per_run:
        yield Problem(
            ("limits", "epsilon_per_run"), "exceeds what may ever be spent.", "Lower it to epsilon_for_ever."
        )


CHECKS = (_columns_allowed, _columns_differ, _hours, _epsilons)

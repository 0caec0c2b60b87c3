"""site.toml: every mistake is one line that says where, what, and what to do."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.client.site_config import columns, data_settings, from_text, load, window
from sealora.client.site_settings import SiteDataSettings
from sealora.client.starter import starter
from sealora.plan.contract import SITE_DATA_KEYS
from sealora.plan.loader import Plan
from sealora.protocol.errors import PlanError

HEAD = 'schema = 1\ndata.path = "wards.csv"\n'


def problems(text):
    with pytest.raises(PlanError) as error:
        from_text(text)
    return str(error.value).split("\n")


def test_the_starter_allows_nothing_yet():
    found = from_text(starter())
    assert found.allow.models == found.allow.plans == ()
    assert found.floors.secure_aggregation


def test_the_guide_shows_the_starter():
    guide = Path(__file__).parents[2] / "docs" / "site-guide.md"
    assert f"```toml\n{starter()}```\n" in guide.read_text("utf-8")


def test_what_the_starter_says_are_the_defaults():
    """So that a line that is left out means the same."""
    short = from_text(HEAD)
    full = from_text(starter())
    assert (short.floors, short.limits, short.resources) == (full.floors, full.limits, full.resources)
    assert (short.allow.models, short.allow.plans, short.allow.tasks) == ((), (), full.allow.tasks)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("allow.model = []", "site.toml:3: allow.model: unknown key. Did you mean 'models'?"),
        ("floor.cohort = 3", "site.toml:3: floor: unknown key. Did you mean 'floors'?"),
        ('floors.cohort = "3"', "site.toml:3: floors.cohort: must be an integer, not the string '3'."),
        ("floors.cohort = -1", "site.toml:3: floors.cohort: must be at least 0, not -1."),
        ("limits.rounds = 0", "site.toml:3: limits.rounds: must be at least 1, not 0."),
        ("limits.epsilon_per_run = inf", "site.toml:3: limits.epsilon_per_run: must be a finite number"),
        ('limits.hours = ["25:00-06:00"]', "site.toml:3: limits.hours[0]: is no time of the day."),
        ('limits.hours = ["8-17"]', "site.toml:3: limits.hours[0]: is no time of the day."),
        ('allow.models = ["abc"]', "site.toml:3: allow.models[0]: "),
        ('data.name = "My data"', "site.toml:3: data.name: "),
        ('data.label_column = "text"', "site.toml:3: data.label_column: is the text column too."),
        (
            'data.text_column = "text"\nallow.columns = ["note", "label"]',
            "site.toml:3: data.text_column: is a column that allow.columns does not list.",
        ),
        (
            "limits = { epsilon_per_run = 8.0, epsilon_for_ever = 4.0 }",
            "site.toml:3: limits.epsilon_per_run: exceeds what may ever be spent.",
        ),
    ],
)
def test_a_mistake_is_located(line, message):
    (found,) = problems(HEAD + line)
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "site.toml: schema: missing. Write `schema = 1` at the top of the site.toml."),
        ("schema = 2", "site.toml:1: schema: this version of Sealora reads site.tomls of schema 1, not 2."),
        ("schema = 1", "site.toml: data: missing. Add a [data] section."),
        ("schema = 1\n[data]", "site.toml:2: data.path: missing. Write `path = …`: File or folder"),
        ("schema = ", "site.toml:1: not valid TOML"),
    ],
)
def test_a_file_that_is_something_else(text, message):
    assert problems(text)[0].startswith(message)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PlanError, match=r"no such file\. Write a site\.toml with `sealora site init`"):
        load(tmp_path / "site.toml")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abc[]{}=.,\"'\n #1-", max_size=60))
def test_any_text_is_settings_or_told(text):
    with suppress(PlanError):
        assert from_text(HEAD + text).data.path


def test_the_site_has_a_key_for_all_that_a_plan_leaves_to_it():
    """A plan's own spelling must never decide which file or column of a site is read."""
    assert set(SiteDataSettings.model_fields) >= SITE_DATA_KEYS


@dataclass
class Rows:
    """A plan that names files and columns of its own."""

    plan: Plan

    @classmethod
    def named(cls):
        text = 'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n'
        theirs = 'data = { path = "/etc/passwd", text_column = "secret", too_long = "drop", rows = 5 }\n'
        return cls(Plan.from_text(text + theirs))


def test_rows_are_read_as_the_site_says(tmp_path):
    site = from_text(HEAD + 'data.text_column = "note"\ndata.label_map = { a = "b" }')
    found = data_settings(Rows.named().plan, site, tmp_path)
    assert found.path == str(tmp_path / "wards.csv")
    assert (found.text_column, found.label_column, found.rows) == ("note", "label", 0)
    assert found.label_map == {"a": "b"}
    assert found.too_long == "drop", "how rows are cleaned is the plan's"


@pytest.mark.parametrize("path", ["/data/wards.csv", "bundled:movie-reviews"])
def test_paths_that_stay(tmp_path, path):
    site = from_text(f'schema = 1\ndata.path = "{path}"')
    assert data_settings(Rows.named().plan, site, tmp_path).path == path


def test_columns_are_named_once():
    site = from_text(HEAD + 'data.filter_column = "label"\ndata.filter_value = "x"')
    assert columns(site, Rows.named().plan) == ("text", "label")


def test_a_window():
    assert window("20:00-06:30") == (time(20), time(6, 30))


def test_a_sites_own_spellings_of_labels_may_join_letters():
    """Persian words have a non-joiner in them, and nobody else approves what a site writes for itself."""
    text = 'schema = 1\ndata.path = "x.csv"\ndata.label_map = { "بی\u200cطرف" = "neutral" }\n'
    assert from_text(text).data.label_map == {"بی\u200cطرف": "neutral"}

"""An operator is told where a plan's δ is too large for the units of this very site."""

import pytest

from sealora.client import site_config
from sealora.client.own_units import doubts
from sealora.plan.loader import Plan

PLAN = Plan.from_text("""\
schema = 1
model.name = "m"
task.labels = ["a", "b"]
strategy.weighting = "uniform"
data.drop_duplicates = false
privacy = { guarantee = "record", epsilon = 4.0, delta = 1e-3, sampling_rate = 0.5, expected_batch = 8 }
""")
SITE = site_config.from_text('schema = 1\ndata = { path = "rows.csv", group_column = "p" }\n')


@pytest.fixture
def folder(tmp_path):
    """120 rows of 40 persons, two of them without a name."""
    people = ["", "nan", *(str(number % 38) for number in range(118))]
    lines = [f"text {number},a,{person}" for number, person in enumerate(people)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,p", *lines]) + "\n")
    return tmp_path


def test_delta_is_held_against_the_sites_own_rows(folder):
    (line,) = doubts(PLAN, SITE, folder)
    assert "δ = 0.001 is large for this site, which has up to 120" in line
    assert line.endswith("ask for a plan with 0.0008 or less.")
    assert not doubts(PLAN.replace(privacy={"delta": 8e-4}), SITE, folder)


def test_groups_count_as_one(folder):
    groups = {"unit": "group", "delta": 2e-3}
    assert not doubts(PLAN.replace(privacy=groups), SITE, folder)
    (line,) = doubts(PLAN.replace(privacy={**groups, "delta": 3e-3}), SITE, folder)
    assert "has up to 38 of what is protected as one (group of training records)" in line


def test_rows_that_cannot_be_read_do_not_stop_a_review(tmp_path):
    (line,) = doubts(PLAN, SITE, tmp_path)
    assert "is not known: " in line
    assert "rows.csv does not exist" in line


def test_without_a_guarantee_no_row_is_read(tmp_path):
    plain = {"guarantee": "none", "epsilon": 0.0, "delta": 0.0, "sampling_rate": 0.0, "expected_batch": 0.0}
    assert doubts(PLAN.replace(privacy=plain), SITE, tmp_path) == []

"""What an operator is told about a plan before approving it."""

import pytest

from sealora.client import site_config
from sealora.client.review import explain
from sealora.plan.loader import Plan

SITE = site_config.from_text('schema = 1\ndata.path = "rows.csv"\n')
PLAN = Plan.from_text('schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n')


def told(members=0, **sections):
    return " ".join(explain(PLAN.replace(**sections), SITE, members, name="ams"))


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"secure_aggregation": {"colluders": 2}}, "the sum over 5 to 16 sites, also if 2 of them conspire"),
        (
            {
                "secure_aggregation": {"colluders": 0},
                "strategy": {"name": "median", "options": {"groups": 5}},
                "simulation": {"sites": 16},
            },
            "the sum over 3 to 4 sites in each of 5 fixed groups, also if 0 of them conspire with it.",
        ),
    ],
)
def test_what_is_hidden(sections, words):
    assert words in told(16, **sections)


def test_above_200_sites_the_coordinator_is_trusted_to_follow_the_protocol():
    assert "also if 100 of them conspire with it, as long as it follows the protocol (semi-honest" in told(
        300
    )
    assert "follows the protocol" not in told(200)


def test_how_often_is_told():
    assert "each tried up to 3 times before the run pauses and up to 1,000 times in all" in told(16)
    assert "An approval is good for one run: the coordinator gets one sum a round with this site" in told(16)
    plain = told(secure_aggregation={"enabled": False}, rounds={"attempts": 1})
    assert "each tried once before the run pauses, with" in plain
    assert "good for" not in plain


def test_products_tell_the_coordinator_more():
    assert "the space that the updates of all sites span" in told(strategy={"name": "fedex"})
    assert "space" not in told(strategy={"name": "hetlora"})


def test_the_rank_is_this_sites_own():
    lower = {"strategy": {"name": "flora"}, "lora": {"rank": 8, "ranks": {"ams": 3, "dub": 2}}}
    assert "trains an adapter of rank 3 on m" in told(**lower)
    assert "trains an adapter of rank 8 on m" in told()

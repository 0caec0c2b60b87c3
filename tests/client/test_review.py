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


def test_products_tell_the_coordinator_more():
    assert "the space that the updates of all sites span" in told(strategy={"name": "fedex"})
    assert "space" not in told(strategy={"name": "hetlora"})


def test_the_rank_is_this_sites_own():
    lower = {"strategy": {"name": "flora"}, "lora": {"rank": 8, "ranks": {"ams": 3, "dub": 2}}}
    assert "trains an adapter of rank 3 on m" in told(**lower)
    assert "trains an adapter of rank 8 on m" in told()

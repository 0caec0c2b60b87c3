"""What an operator is told about a plan before approving it."""

from sealora.client import site_config
from sealora.client.review import explain
from sealora.plan.loader import Plan

SITE = site_config.from_text('schema = 1\ndata.path = "rows.csv"\n')
PLAN = Plan.from_text('schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n')


def told(**sections):
    return " ".join(explain(PLAN.replace(**sections), SITE, name="ams"))


def test_products_tell_the_coordinator_more():
    assert "the space that the updates of all sites span" in told(strategy={"name": "fedex"})
    assert "space" not in told(strategy={"name": "hetlora"})


def test_the_rank_is_this_sites_own():
    lower = {"strategy": {"name": "flora"}, "lora": {"rank": 8, "ranks": {"ams": 3, "dub": 2}}}
    assert "trains an adapter of rank 3 on m" in told(**lower)
    assert "trains an adapter of rank 8 on m" in told()

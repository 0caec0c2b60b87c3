"""What a plan would do, in words: who sees what."""

import pytest

from sealora.client.review import _hidden
from sealora.protocol.settings import SecureAggregationSettings
from sealora.simulation.toy import toy_plan
from sealora.strategies.settings import StrategySettings

MEDIAN = StrategySettings(name="median", options={"groups": 5})


@pytest.mark.parametrize(
    ("strategy", "colluders", "words"),
    [
        (StrategySettings(), 2, "the sum over 5 to 16 sites, also if 2 of them conspire with it."),
        (MEDIAN, 0, "the sum over 3 to 4 sites in each of 5 fixed groups, also if 0 of them conspire"),
    ],
)
def test_what_is_hidden(strategy, colluders, words):
    plan = toy_plan(strategy=strategy, secure_aggregation=SecureAggregationSettings(colluders=colluders))
    assert words in _hidden(plan, 16)

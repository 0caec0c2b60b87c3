"""Who is asked in a round, and how many must answer."""

import pytest

from sealora.plan.settings import CohortSettings
from sealora.protocol.errors import RunError
from sealora.protocol.messages import Work
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.cohort import fewest, quorum, select_cohort
from sealora.simulation.toy import toy_plan
from sealora.strategies.settings import StrategySettings

SITES = tuple(f"site-{number}" for number in range(10))


def plan(**cohort):
    return toy_plan(cohort=CohortSettings(**cohort))


@pytest.mark.parametrize("size", [0, 10, 11])
def test_all_sites(size):
    assert select_cohort(plan(size=size), SITES[::-1], 1, frozenset(), Work.TRAIN) == SITES


def test_a_draw_is_sorted_and_depends_on_round_and_seed_only():
    draws = [select_cohort(plan(size=3), SITES, number, frozenset(), Work.TRAIN) for number in range(1, 40)]
    assert all(list(draw) == sorted(set(draw)) for draw in draws)
    assert all(len(draw) == 3 for draw in draws)
    assert set().union(*draws) == set(SITES)
    again = [
        select_cohort(plan(size=3), SITES[::-1], number, frozenset(), Work.TRAIN) for number in range(1, 40)
    ]
    assert again == draws
    other = toy_plan(seed=1, cohort=CohortSettings(size=3))
    assert select_cohort(other, SITES, 1, frozenset(), Work.TRAIN) != draws[0]


def test_the_evaluation_asks_everyone():
    assert select_cohort(plan(size=3), SITES, 4, frozenset(), Work.EVALUATE) == SITES


def test_the_excluded_are_left_out():
    excluded = frozenset(SITES[:8])
    assert select_cohort(plan(size=3), SITES, 1, excluded, Work.TRAIN) == SITES[8:]
    with pytest.raises(RunError, match="no site is left for round 1"):
        select_cohort(plan(), SITES, 1, frozenset(SITES), Work.TRAIN)


@pytest.mark.parametrize(
    ("share", "cohort", "needed"), [(0.5, 10, 5), (0.5, 3, 2), (0.01, 3, 1), (1.0, 7, 7), (0.34, 3, 2)]
)
def test_the_quorum_is_rounded_up(share, cohort, needed):
    assert quorum(plan(quorum=share), SITES[:cohort]) == needed


@pytest.mark.parametrize(
    ("strategy", "secure", "sites", "needed"),
    [
        (StrategySettings(), False, 10, 5),
        (StrategySettings(), True, 10, 7),
        (StrategySettings(name="median", options={"attackers": 3}), False, 10, 7),
        (StrategySettings(name="median", options={"attackers": 1, "groups": 5}), True, 15, 9),
        (StrategySettings(name="median", options={"attackers": 2, "groups": 5}), True, 16, 15),
        (StrategySettings(name="krum", options={"attackers": 1, "groups": 5}), False, 20, 10),
    ],
)
def test_waiting_is_worth_it_for_so_many(strategy, secure, sites, needed):
    """Of groups as many as a round needs, the smallest ones, each with what its session needs."""
    masks = SecureAggregationSettings(enabled=secure, colluders=0 if strategy.name != "fedavg" else -1)
    chosen = toy_plan(strategy=strategy, secure_aggregation=masks)
    assert fewest(chosen, [f"site-{number}" for number in range(sites)]) == needed

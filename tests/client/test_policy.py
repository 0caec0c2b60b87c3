"""Every line of a policy allows what it should and refuses what it should, whatever a coordinator sends."""

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.client.policy import LINES, Case, Policy, bound_hash, plan_name, spendable
from sealora.client.site_config import from_text
from sealora.client.starter import starter
from sealora.plan.loader import Plan
from sealora.privacy.events import Budget
from sealora.protocol.admission import Floors
from sealora.protocol.errors import BudgetError, RefusedError
from sealora.protocol.messages import Header, Work

MODEL, OTHER = "a1" * 32, "b2" * 32
NOON = datetime(2026, 3, 1, 12, 30)
SITES = tuple(f"site-{number}" for number in range(6))
PLAN = """\
schema = 1
model.name = "bundled:minilm"
task.labels = ["negative", "positive"]
rounds.count = 5
secure_aggregation = { colluders = 2, minimum_contributors = 5 }
"""
PRIVATE = """\
strategy.weighting = "uniform"
data.drop_duplicates = false
privacy = { guarantee = "record", epsilon = 4.0, delta = 1e-5, sampling_rate = 0.1, expected_batch = 8 }
"""
SITE = f"""\
schema = 1
data.path = "wards.csv"
allow.models = ["{MODEL}"]
"""


def planned(extra=""):
    return Plan.from_text(PLAN + extra)


def policy(extra="", plan=None):
    return Policy(from_text(SITE + extra), {plan_name(plan or planned()): 1})


def header(plan, **changes):
    secure = plan.secure_aggregation
    fields = {
        "plan_hash": bytes.fromhex(bound_hash(plan, MODEL)),
        "run": bytes(16),
        "round": 1,
        "attempt": 1,
        "work": Work.TRAIN,
        "model_hash": bytes(32),
        "cohort": SITES,
        "quorum": 3,
        "words": 1,
        "levels": 1,
        "colluders": secure.colluders_of(len(SITES)),
        "n_min": secure.minimum_of(len(SITES)),
        "roster_hash": bytes(32),
    }
    return Header(**{**fields, **changes})


def case(plan, model=MODEL, asked=True, **changes):
    """A round of the plan as an honest coordinator opens it, or with `asked=False` the plan alone."""
    fields = {"now": NOON, "epsilon_after": lambda delta: 1.0, "sites": len(SITES)}
    fields |= {name: changes.pop(name) for name in list(changes) if name in Case.__dataclass_fields__}
    opened = header(plan, **changes) if asked else None
    return Case(plan, bound_hash(plan, model), header=opened, **fields)


def refused(policy, case):
    """The lines that refuse."""
    return {verdict.line for verdict in policy.check(case) if not verdict.allowed}


@pytest.mark.parametrize("asked", [True, False])
def test_what_is_in_order_is_allowed(asked):
    plan = planned()
    assert refused(policy(), case(plan, asked=asked)) == set()
    policy().require(case(plan))


HOURS = 'limits.hours = ["20:00-06:00", "12:00-13:00"]\n'
EPSILON = "limits = {{ epsilon_per_run = {0}, epsilon_for_ever = {1}, delta = 1e-5 }}\n"
TABLE = {
    "allow.models": [
        ("another model", {"model": OTHER}, ""),
        ("a model by its name alone", {"model": ""}, ""),
    ],
    "allow.tasks": [("a task that is not listed", {}, 'allow.tasks = ["extraction"]\n')],
    "floors.secure_aggregation": [
        ("a plain round of a secure plan", {"roster_hash": b""}, ""),
        (
            "the same where the site would allow plain plans",
            {"roster_hash": b""},
            "floors.secure_aggregation = false\n",
        ),
    ],
    "floors.cohort": [
        ("too small a cohort", {}, "floors.cohort = 7\n"),
        ("a cohort that shrank", {"cohort": SITES[:5]}, "floors.cohort = 6\n"),
    ],
    "floors.colluders": [
        ("fewer than the site asks", {}, "floors.colluders = 3\n"),
        ("fewer than the plan says", {"colluders": 1}, ""),
    ],
    "floors.minimum_contributors": [
        ("fewer than the site asks", {}, "floors.minimum_contributors = 6\n"),
        ("fewer than the plan says", {"n_min": 4}, ""),
    ],
    "data.rows": [("a draw of rows under a guarantee", {"plan": PRIVATE}, "data.rows = 500\n")],
    "limits.rounds": [
        ("a plan too long", {}, "limits.rounds = 4\n"),
        ("a round that the plan does not have", {"round": 6}, ""),
        ("a second final evaluation", {"round": 7, "work": Work.EVALUATE}, ""),
    ],
    "limits.attempts": [
        ("a plan that tries too often", {"plan": "rounds.attempts = 9\n"}, "limits.attempts = 8\n")
    ],
    "limits.hours": [
        ("the wrong time", {"now": NOON.replace(hour=14)}, HOURS),
        ("just too late", {"now": NOON.replace(hour=13, minute=0)}, HOURS),
        ("just too late in the morning", {"now": NOON.replace(hour=6, minute=0)}, HOURS),
        ("just too early", {"now": NOON.replace(hour=11, minute=59, second=59)}, HOURS),
    ],
    "limits.epsilon_per_run": [("no guarantee", {}, EPSILON.format(8.0, 0.0))],
    "limits.epsilon_for_ever": [("no guarantee", {}, EPSILON.format(0.0, 8.0))],
    "resources.threads": [
        ("too many threads", {"plan": "training.threads = 8\n"}, "resources.threads = 4\n")
    ],
    "resources.memory": [("too large a model", {"memory": 3 * 2**30}, "resources.memory = 2.5\n")],
}
ROWS = [(line, *row) for line, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize(
    ("line", "what", "changes", "extra"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS]
)
def test_a_line_refuses_and_no_other_does(line, what, changes, extra):
    changes = dict(changes)
    plan = planned(changes.pop("plan", ""))
    site = policy(extra, plan)
    assert refused(site, case(plan, **changes)) == {line}
    with pytest.raises(RefusedError, match=f"policy line {line}") as error:
        site.require(case(plan, **changes))
    assert len(str(error.value)) < 150
    assert "\n" not in str(error.value)


def test_a_plan_must_be_approved():
    plan = planned()
    assert refused(Policy(from_text(SITE)), case(plan)) == {"allow.plans"}
    assert refused(policy(plan=planned("seed = 1\n")), case(plan)) == {"allow.plans"}
    listed = f'{SITE}allow.plans = ["{plan_name(plan)}"]\n'
    assert refused(Policy(from_text(listed)), case(plan)) == set()


def test_the_starter_refuses_everything():
    plan = planned()
    assert refused(Policy(from_text(starter())), case(plan)) == {"allow.plans", "allow.models"}


def test_every_line_is_in_the_table():
    names = {line(policy(), case(planned())).line for line in LINES}
    # Columns are checked when site.toml is loaded; approvals and runs have tests of their own.
    assert names == {*TABLE, "allow.plans", "allow.columns", "limits.runs"}


@pytest.mark.parametrize("hour", [20, 23, 0, 5, 12])
def test_hours_that_are_allowed(hour):
    assert refused(policy(HOURS), case(planned(), now=NOON.replace(hour=hour, minute=0))) == set()


def test_the_last_round_is_evaluated_once():
    plan = planned()
    assert refused(policy(), case(plan, round=6, work=Work.EVALUATE)) == set()
    assert refused(policy(), case(plan, round=5)) == set()


def private(epsilon_per_run, epsilon_for_ever, after=1.0, **changes):
    plan = planned(PRIVATE)
    site = policy(EPSILON.format(epsilon_per_run, epsilon_for_ever), plan)
    return site, case(plan, epsilon_after=lambda delta: after, **changes)


@pytest.mark.parametrize(
    ("per_run", "for_ever", "after", "lines"),
    [
        (4.0, 4.0, 4.0, set()),
        (4.0, 0.0, 4.0, set()),
        (0.0, 0.0, 4.1, {"limits.epsilon_for_ever"}),
        (0.0, 0.0, float("nan"), {"limits.epsilon_for_ever"}),
        (3.9, 0.0, 1.0, {"limits.epsilon_per_run"}),
        (4.0, 8.0, 8.1, {"limits.epsilon_for_ever"}),
        (4.0, 8.0, float("nan"), {"limits.epsilon_for_ever"}),
        (3.9, 3.9, 4.0, {"limits.epsilon_per_run", "limits.epsilon_for_ever"}),
    ],
)
def test_privacy_is_limited_by_run_and_for_ever(per_run, for_ever, after, lines):
    assert refused(*private(per_run, for_ever, after)) == lines


def test_without_a_limit_of_its_own_a_site_judges_by_the_plans_budget():
    """For its purse pays no more than that either, over all runs."""
    plan = planned(PRIVATE)
    asked = []
    site = policy(plan=plan)
    round_ = case(plan, epsilon_after=lambda delta: asked.append(delta) or 4.1)
    with pytest.raises(BudgetError, match="budget does not pay for it"):
        site.require(round_)
    assert asked == [plan.privacy.delta]
    assert spendable(site.settings, plan) == Budget(4.0, 1e-5)
    limited = policy(EPSILON.format(0.0, 6.0).replace("1e-5", "1e-6"), plan)
    assert spendable(limited.settings, plan) == Budget(6.0, 1e-6)


def test_a_draw_of_rows_is_fine_without_a_guarantee():
    assert refused(policy("data.rows = 500\n"), case(planned())) == set()


def test_a_delta_that_is_too_large():
    plan = planned(PRIVATE.replace("1e-5", "1e-4"))
    site = policy(EPSILON.format(8.0, 0.0), plan)
    assert refused(site, case(plan)) == {"limits.epsilon_per_run"}


def test_a_spent_budget_ends_a_run_and_tells_nothing():
    site, round_ = private(4.0, 8.0, 8.1234)
    with pytest.raises(BudgetError) as error:
        site.require(round_)
    assert "8.1" not in str(error.value)
    (verdict,) = [line for line in site.check(round_) if not line.allowed]
    assert "8.123" in verdict.asks, "the operator sees it"


def test_where_a_plan_is_plain_the_site_decides():
    plan = planned().replace(secure_aggregation={"enabled": False})
    round_ = case(plan, roster_hash=b"", colluders=0, n_min=0)
    assert refused(policy(plan=plan), round_) == {"floors.secure_aggregation"}
    assert refused(policy("floors.secure_aggregation = false\n", plan), round_) == set()


def test_before_a_roster_is_known_floors_wait_for_the_round():
    plan = planned()
    site = policy("floors = { cohort = 50, colluders = 9, minimum_contributors = 40 }\n")
    waiting = site.check(case(plan, asked=False, sites=0))
    assert {verdict.asks for verdict in waiting if verdict.line.startswith("floors.c")} == {
        "decided in each round"
    }
    assert refused(site, case(plan, asked=False, sites=0)) == set()
    floors = {"floors.cohort", "floors.colluders", "floors.minimum_contributors"}
    assert refused(site, case(plan, asked=False)) == floors
    assert refused(site, case(plan)) == floors


def test_the_secure_half_has_the_same_floors():
    plan = planned()
    site = policy("floors = { colluders = 2, minimum_contributors = 7 }\nlimits.attempts = 5\n")
    assert site.floors(plan) == Floors(n_min=7, colluders=2, attempts=5, runs=1)
    assert policy("floors = { minimum_contributors = 0 }\n").floors(plan).n_min == 3


@pytest.mark.parametrize(
    ("approved", "extra", "runs"),
    [
        (1, "", 1),
        (2, "", 2),
        (2, "limits.runs = 3\n", 6),
        (0, "", 0),
        (0, 'allow.plans = ["{0}"]\n', 1),
        (1, 'allow.plans = ["{0}"]\n', 2),
    ],
)
def test_each_approval_is_good_for_so_many_runs(approved, extra, runs):
    plan = planned()
    site = Policy(
        from_text(SITE + extra.format(plan_name(plan))), {plan_name(plan): approved} if approved else {}
    )
    assert site.floors(plan).runs == runs
    assert site.floors(planned("seed = 1\n")).runs == 0
    (verdict,) = [verdict for verdict in site.check(case(plan)) if verdict.line == "limits.runs"]
    assert (verdict.allowed, verdict.asks) == (True, f"{runs} approved so far")


STRICT = policy("floors = { cohort = 4, colluders = 1, minimum_contributors = 4 }\n")
ROUND = case(planned())
HEADER_FIELDS = {
    "cohort": st.lists(st.sampled_from(SITES), min_size=1, unique=True).map(
        lambda sites: tuple(sorted(sites))
    ),
    "colluders": st.integers(0, 6),
    "n_min": st.integers(0, 6),
    "roster_hash": st.sampled_from([b"", bytes(32)]),
    "round": st.integers(1, 9),
    "work": st.sampled_from(list(Work)),
    "quorum": st.integers(1, 6),
    "clip": st.floats(0, 1e9),
    "noise": st.floats(0, 1e9),
}


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries(HEADER_FIELDS))
def test_no_header_loosens_anything(changes):
    """Whatever a coordinator writes into a header: if it is allowed, floors of site and plan hold."""
    try:
        STRICT.require(replace(ROUND, header=replace(ROUND.header, **changes)))
    except RefusedError:
        return
    secure, sites = ROUND.plan.secure_aggregation, len(changes["cohort"])
    assert changes["roster_hash"]
    assert sites >= 4
    assert changes["colluders"] >= max(1, secure.colluders_of(sites))
    assert changes["n_min"] >= max(4, secure.minimum_of(sites))
    assert changes["round"] <= 5 + (changes["work"] == Work.EVALUATE)


def test_a_header_says_nothing_about_model_or_approval():
    """They follow from the contract's hash, which the site computed itself."""
    plan = planned()
    strange = replace(case(plan, model=OTHER), header=header(plan))
    assert refused(policy(), strange) == {"allow.models"}

"""The forecast of a guarantee: ε, affordable rounds, and noise against signal."""

import pytest

from sealora.plan.loader import Plan
from sealora.plan.privacy_forecast import noise_to_signal, plan_schedule, privacy_forecast, verdict
from sealora.privacy.events import Budget
from sealora.privacy.ledger import ChargeKey, Ledger
from sealora.protocol.errors import PlanError

PLAN = Plan.from_text("""\
schema = 1
model.name = "m"
task.labels = ["a", "b"]
strategy.weighting = "uniform"
data.drop_duplicates = false
rounds.count = 10

[privacy]
guarantee = "record"
epsilon = 8.1
delta = 1e-6
sampling_rate = 0.1
expected_batch = 32
steps_per_round = 10
noise_multiplier = 1.0
""")
QUICK = PLAN.replace(privacy={"accountant": "rdp", "epsilon": 9.0})
"""The same by the accountant that answers at once."""


@pytest.mark.slow
def test_the_account_of_a_plan():
    found = privacy_forecast(PLAN, 10_000, 4)
    # Reference of an independent accountant: σ = 1, q = 0.1, T = 100, δ = 1e-6.
    assert found.epsilon_total == pytest.approx(8.0586, abs=2e-3)
    assert 0 < found.epsilon_first_round < found.epsilon_total
    assert found.affordable_rounds == 10
    assert found.noise_to_signal == pytest.approx(100 / 32 / 2)
    assert found.verdict == "Over all steps that is 0.16: expect to lose some points of accuracy to noise."


def test_drawn_cohorts_are_no_amplification():
    """The coordinator knows whom it drew, so a site is accounted for as if it took part in every round."""
    whole = privacy_forecast(QUICK, 100, 4)
    drawn = privacy_forecast(QUICK.replace(cohort={"size": 8}, simulation={"sites": 100}), 100, 4)
    assert drawn.epsilon_total == whole.epsilon_total
    assert drawn.noise_multiplier == whole.noise_multiplier


def test_noised_metrics_are_in_the_account():
    found = privacy_forecast(QUICK.replace(privacy={"metrics": "noised", "metrics_noise": 10.0}), 100, 4)
    assert found.metrics_noise == 10.0
    assert found.epsilon_total > privacy_forecast(QUICK, 100, 4).epsilon_total
    assert privacy_forecast(QUICK, 100, 4).metrics_noise is None


def test_the_unit_is_told():
    groups = QUICK.replace(privacy={"unit": "group"}, data={"group_column": "patient"})
    assert privacy_forecast(groups, 100, 4).unit == "group"
    assert privacy_forecast(groups, 100, 4).epsilon_total == privacy_forecast(QUICK, 100, 4).epsilon_total


def test_a_budget_that_ends_early_is_told():
    found = privacy_forecast(QUICK.replace(privacy={"epsilon": 5.0}), 100, 4)
    assert 0 < found.affordable_rounds < 10
    assert found.epsilon_total > 5
    assert "hardly show" in found.verdict
    assert f"pay for {found.affordable_rounds} of 10 rounds, so the run will end early" in found.shortfall
    assert not privacy_forecast(QUICK, 100, 4).shortfall


def test_head_room_is_told():
    found = privacy_forecast(QUICK.replace(privacy={"epsilon": 12.0}), 100, 4)
    assert 10 < found.affordable_rounds < 100
    assert not found.shortfall
    assert privacy_forecast(QUICK.replace(privacy={"epsilon": 1e5}), 100, 4).affordable_rounds == 100


def test_a_plan_that_pays_for_no_round_is_an_error():
    with pytest.raises(PlanError, match=r"the budgets pay for no round: the first costs ε = \d"):
        privacy_forecast(QUICK.replace(privacy={"noise_multiplier": 0.3}), 100, 4)


def test_the_sites_own_budgets_count():
    whole = privacy_forecast(QUICK, 100, 4)
    first = whole.epsilon_first_round

    def rounds(**budgets):
        changed = QUICK.replace(simulation={"budgets": {"*": 100.0, **budgets}})
        return privacy_forecast(changed, 100, 4).affordable_rounds

    assert rounds() == whole.affordable_rounds
    assert 0 < rounds(**{"site-02": first * 1.2}) < whole.affordable_rounds
    with pytest.raises(PlanError, match="more than some site has left"):
        rounds(**{"*": first / 2})


def test_what_ledgers_were_charged_with_counts(tmp_path):
    planned = plan_schedule(QUICK)
    lasting = QUICK.replace(simulation={"ledgers": str(tmp_path)})
    whole = privacy_forecast(lasting, 100, 4).affordable_rounds
    assert whole == privacy_forecast(QUICK, 100, 4).affordable_rounds
    with Ledger(tmp_path / "site-03.jsonl", "site-03", "record", planned.accountant) as ledger:
        for number in range(6):
            ledger.charge(ChargeKey("earlier", number, 1), planned.round_event, Budget(1e6, 1e-6))
    assert privacy_forecast(lasting, 100, 4).affordable_rounds == whole - 6
    natural = lasting.replace(simulation={"partition": "natural", "partition_column": "ward"})
    assert privacy_forecast(natural, 100, 4).affordable_rounds == whole - 6


def test_which_amplification_is_claimed_and_which_is_not():
    drawn = privacy_forecast(QUICK, 100, 4).amplification
    claimed = "counted for each site's secret draw of its records (Poisson, rate 0.1 in each step)"
    assert drawn == f"{claimed}; none for cohorts, whose members the coordinator knows"
    whole = QUICK.replace(privacy={"sampling_rate": 1.0, "epsilon": 1e4})
    told = privacy_forecast(whole, 100, 4).amplification
    assert told.startswith("none: every step takes all records of a site; none for cohorts")


@pytest.mark.slow
def test_replaced_units_and_several_at_once_are_told():
    found = privacy_forecast(PLAN, 100, 4)
    assert found.epsilon_total < found.epsilon_replaced < found.epsilon_pair
    hopeless = QUICK.replace(privacy={"epsilon": 1e5, "noise_multiplier": 0.05})
    assert privacy_forecast(hopeless, 100, 4).epsilon_pair is None


def test_hopeless_noise_is_called_so():
    assert noise_to_signal(1.0, 10**6, 10.0, 100) == pytest.approx(10)
    assert "will not learn" in privacy_forecast(QUICK, 10**8, 4).verdict


def test_steps_add_up():
    """The same noise in a step is worth less the more steps there are; bounds are those of the manual."""
    assert "lose some" in verdict(0.2, 100)
    assert "hardly show" in verdict(0.2, 101)
    assert "learn little" in verdict(0.5, 1)
    assert "lose some" in verdict(0.5, 4)
    assert "will not learn" in verdict(10.0, 100)


def test_without_a_guarantee_there_is_no_account():
    assert privacy_forecast(PLAN.replace(privacy={"guarantee": "none"}), 100, 4) is None

"""The forecast of a guarantee: ε, affordable rounds, and noise against signal."""

import pytest

from sealora.plan.loader import Plan
from sealora.plan.privacy_forecast import noise_to_signal, privacy_forecast, verdict

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


def test_the_account_of_a_plan():
    found = privacy_forecast(PLAN, 10_000, 4)
    # Reference of an independent accountant: σ = 1, q = 0.1, T = 100, δ = 1e-6.
    assert found.epsilon_total == pytest.approx(8.0586, abs=2e-3)
    assert 0 < found.epsilon_first_round < found.epsilon_total
    assert found.affordable_rounds == 10
    assert found.noise_to_signal == pytest.approx(100 / 32 / 2)
    assert found.verdict == "Over all steps that is 0.16: expect to lose some accuracy to noise."


def test_drawn_cohorts_are_no_amplification():
    """The coordinator knows whom it drew, so a site is accounted for as if it took part in every round."""
    whole = privacy_forecast(PLAN, 100, 4)
    drawn = privacy_forecast(PLAN.replace(cohort={"size": 8}, simulation={"sites": 100}), 100, 4)
    assert drawn.epsilon_total == whole.epsilon_total
    assert drawn.noise_multiplier == whole.noise_multiplier


def test_noised_metrics_are_in_the_account():
    found = privacy_forecast(PLAN.replace(privacy={"metrics": "noised", "metrics_noise": 10.0}), 100, 4)
    assert found.metrics_noise == 10.0
    assert found.epsilon_total > privacy_forecast(PLAN, 100, 4).epsilon_total
    assert privacy_forecast(PLAN, 100, 4).metrics_noise is None


def test_the_unit_is_told():
    groups = PLAN.replace(privacy={"unit": "group"}, data={"group_column": "patient"})
    assert privacy_forecast(groups, 100, 4).unit == "group"
    assert privacy_forecast(groups, 100, 4).epsilon_total == privacy_forecast(PLAN, 100, 4).epsilon_total


def test_a_budget_that_ends_early_is_told():
    found = privacy_forecast(PLAN.replace(privacy={"epsilon": 5.0}), 100, 4)
    assert 0 < found.affordable_rounds < 10
    assert found.epsilon_total > 5
    assert "hardly show" in found.verdict


def test_hopeless_noise_is_called_so():
    assert noise_to_signal(1.0, 10**6, 10.0, 100) == pytest.approx(10)
    assert "will not learn" in privacy_forecast(PLAN, 10**8, 4).verdict


def test_steps_add_up():
    """The same noise in a step is worth less the more steps there are; bounds are those of the manual."""
    assert [verdict(0.5, steps).split(": ")[1].split(" ")[0] for steps in (1, 4, 100, 101)] == [
        "expect",
        "expect",
        "expect",
        "noise",
    ]
    assert "learn little" in verdict(0.5, 1)
    assert "lose some" in verdict(0.5, 4)
    assert "will not learn" in verdict(10.0, 100)


def test_without_a_guarantee_there_is_no_account():
    assert privacy_forecast(PLAN.replace(privacy={"guarantee": "none"}), 100, 4) is None

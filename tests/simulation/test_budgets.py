"""Budgets as hard stops on both sides, with sites that can pay differently, and ledgers that went back."""

from pathlib import Path

import pytest

from sealora.plan.privacy_forecast import plan_schedule
from sealora.plan.settings import RoundsSettings, SimulationSettings
from sealora.privacy.ledger import read_charges
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.events import AttemptLost, BudgetSpent, Evaluated, RoundDone, SiteRefused
from sealora.server.store import CheckpointStore
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.toy import toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings

SITES = 6
PROMISE = {
    "guarantee": "record",
    "epsilon": 1000.0,
    "delta": 1e-3,
    "sampling_rate": 0.5,
    "expected_batch": 8.0,
    "steps_per_round": 1,
    "noise_multiplier": 1.0,
}


def private_plan(secure=False, rounds=10, budgets=None, **changes):
    return toy_plan(
        rounds=RoundsSettings(count=rounds),
        secure_aggregation=SecureAggregationSettings(enabled=secure, colluders=2),
        strategy=StrategySettings(weighting="uniform"),
        privacy=PrivacySettings(**{**PROMISE, **changes}),
        simulation=SimulationSettings(budgets=budgets or {}),
    )


def pays_for(rounds, **changes):
    """A budget that pays for exactly that many rounds."""
    planned = plan_schedule(private_plan(**changes))
    return (planned.epsilon(rounds) + planned.epsilon(rounds + 1)) / 2


class Recorder:
    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def run(folder, plan, faults=None):
    """One process: parties are built anew, and go on from what is in the folder."""
    recorder = Recorder()
    federation = toy_federation(folder, SITES, plan)
    adapter, _ = federation.coordinator(faults, [recorder]).run()
    return adapter, recorder


def charged(folder: Path, site: str) -> list[int]:
    return [charge.key.round for charge in read_charges(folder / "ledgers" / f"{site}.jsonl")]


@pytest.mark.parametrize("secure", [False, True])
def test_a_budget_that_ends_in_round_3_of_10_keeps_the_model_of_round_2(tmp_path, secure):
    plan = private_plan(secure, epsilon=pays_for(2))
    adapter, told = run(tmp_path / "short", plan)
    assert [done.record.round for done in told.of(RoundDone)] == [1, 2]
    (spent,) = told.of(BudgetSpent)
    assert (spent.round, len(spent.sites)) == (3, SITES)
    expected, _ = run(tmp_path / "two", private_plan(secure, rounds=2))
    assert adapter.sha256() == expected.sha256()
    # A coordinator that asks again, now or after a restart, is refused by every site.
    again, told = run(tmp_path / "short", plan)
    assert again.sha256() == adapter.sha256()
    assert not told.of(RoundDone)
    assert {refused.reason for refused in told.of(SiteRefused)} == {"budget"}
    assert len(told.of(SiteRefused)) == SITES
    for number in range(1, SITES + 1):
        assert charged(tmp_path / "short", f"site-{number}") == [1, 2]


def test_a_run_whose_model_was_evaluated_does_not_go_on_with_more_budget(tmp_path):
    """Sites do not train on it: their metrics of it are in a sum already."""
    (tmp_path / "state").mkdir()
    CheckpointStore(tmp_path / "state").save_evaluation(0, Evaluated({}, {}, ()))
    _, told = run(tmp_path, private_plan(False, rounds=3))
    assert [(spent.round, spent.sites) for spent in told.of(BudgetSpent)] == [(1, ())]
    assert not told.of(RoundDone)


@pytest.mark.parametrize("secure", [False, True])
def test_the_run_goes_on_without_a_site_that_cannot_pay(tmp_path, secure):
    """With six sites and two colluders five must be left; plain sessions need three."""
    poor = {"site-2": pays_for(1)}
    _, told = run(tmp_path, private_plan(secure, rounds=3, budgets=poor))
    contributors = [done.record.contributors for done in told.of(RoundDone)]
    assert [len(sites) for sites in contributors] == [6, 5, 5]
    assert all("site-2" not in sites for sites in contributors[1:])
    assert [(refused.site, refused.reason) for refused in told.of(SiteRefused)] == [("site-2", "budget")] * 2
    assert charged(tmp_path, "site-2") == [1]
    assert not told.of(BudgetSpent)


def test_too_few_payers_for_a_secure_sum_end_the_run_where_a_plain_one_goes_on(tmp_path):
    poor = {f"site-{number}": pays_for(1) for number in (1, 2, 3)}
    _, told = run(tmp_path / "plain", private_plan(False, rounds=3, budgets=poor))
    assert [len(done.record.contributors) for done in told.of(RoundDone)] == [6, 3, 3]
    _, told = run(tmp_path / "secure", private_plan(True, rounds=3, budgets=poor))
    assert [len(done.record.contributors) for done in told.of(RoundDone)] == [6]
    (spent,) = told.of(BudgetSpent)
    assert (spent.round, spent.sites) == (2, ("site-1", "site-2", "site-3"))
    # No sum of the three that could pay was opened, though they had paid for it.
    assert len(told.of(AttemptLost)) == 1
    assert charged(tmp_path / "secure", "site-4") == [1, 2]


def test_a_lost_attempt_is_paid_for_and_costs_the_run_its_end(tmp_path):
    lost = Faults(script={(f"site-{number}", 1): Fault(0) for number in (1, 2, 3, 4)})
    _, told = run(tmp_path, private_plan(rounds=3, epsilon=pays_for(3)), lost)
    assert [event.attempt for event in told.of(AttemptLost)] == [1]
    assert charged(tmp_path, "site-5") == [1, 1, 2]
    assert charged(tmp_path, "site-1") == [1, 2, 3]
    # The sites that paid twice cannot pay for the last round; the four others are enough.
    assert [len(done.record.contributors) for done in told.of(RoundDone)] == [6, 6, 4]


class Stop(Recorder):
    """Ends the process when a round is done."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def notify(self, event):
        super().notify(event)
        if isinstance(event, RoundDone) and event.record.round == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (1, "ledger went back from 3 records to 2"),
        (2, "ledger has 3 records as before, but other ones"),
    ],
)
def test_a_ledger_that_went_back_is_reported_and_its_site_left_out(tmp_path, kept, reason):
    """The file is cut back to its first lines after round 2, which is a ledger that verifies."""
    plan = private_plan(secure=True, rounds=4)
    with pytest.raises(KeyboardInterrupt):
        toy_federation(tmp_path, SITES, plan).coordinator(None, [Stop(2)]).run()
    ledger = tmp_path / "ledgers" / "site-3.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:kept]))
    _, told = run(tmp_path, plan)
    (refused,) = told.of(SiteRefused)
    assert (refused.round, refused.site, refused.reason) == (3, "site-3", "restored")
    assert reason in refused.text
    cohorts = {done.record.round: done.record.cohort for done in told.of(RoundDone)}
    assert "site-3" in cohorts[3]
    assert "site-3" not in cohorts[4]
    assert all("site-3" not in done.record.contributors for done in told.of(RoundDone))


def test_ledgers_that_only_grow_are_accepted_over_a_restart(tmp_path):
    plan = private_plan(secure=True, rounds=4)
    with pytest.raises(KeyboardInterrupt):
        toy_federation(tmp_path, SITES, plan).coordinator(None, [Stop(2)]).run()
    _, told = run(tmp_path, plan)
    assert [len(done.record.contributors) for done in told.of(RoundDone)] == [6, 6]
    assert not told.of(SiteRefused)

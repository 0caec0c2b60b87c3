"""A site asks its policy in every round, as the files are at that moment, before it pays or trains."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sealora.client import approval
from sealora.client.policy import bound_hash, plan_name
from sealora.client.policy_book import PolicyBook, epsilon_after
from sealora.client.site_config import load
from sealora.models.adapter import pack
from sealora.plan.payload import payload_layout, round_context
from sealora.plan.privacy_forecast import plan_schedule
from sealora.privacy.events import Budget
from sealora.privacy.ledger import ChargeKey, Ledger
from sealora.privacy.settings import PrivacySettings
from sealora.protocol import messages
from sealora.protocol.errors import BudgetError, DataError, RefusedError
from sealora.protocol.messages import Header, Open, Reason, Refusal, Work
from sealora.simulation.toy import LAYOUT, tensors_of, toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings

MODEL = "a1" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = tuple(spec.name for spec in LAYOUT.specs)
TENSORS = pack(tensors_of("start"))
PRIVACY = PrivacySettings(
    guarantee="record",
    epsilon=8.0,
    delta=1e-5,
    sampling_rate=0.1,
    expected_batch=8.0,
    noise_multiplier=0.8,
    accountant="rdp",
)


class Home:
    """A site's folder whose policy allows one plan, plain or not."""

    def __init__(self, partners, plan):
        self.plan, self.folder = plan, partners.site("ams")
        self.plan_hash = bytes.fromhex(bound_hash(plan, MODEL))
        self.policy = PolicyBook(self.folder, lambda: NOON)
        self.allow("models = []", f'models = ["{MODEL}"]')
        self.allow("secure_aggregation = true", "secure_aggregation = false")
        approval.record(self.folder, "approve", plan_name(plan), "toy", "kim", NOON)

    def allow(self, old, new):
        text = self.folder.settings_path.read_text()
        assert old in text
        self.folder.settings_path.write_text(text.replace(old, new))


class Asked(Home):
    """A toy site that asks this policy."""

    def __init__(self, partners, plan):
        super().__init__(partners, plan)
        self.site = toy_federation(partners.folder / "toy", sites=3, plan=plan).sites["site-1"]
        self.site.contract = replace(self.site.contract, plan_hash=self.plan_hash)
        self.site.policy = self.policy

    def ask(self, **changes):
        """The site's answer to an opening."""
        contract, work = self.site.contract, changes.get("work", Work.TRAIN)
        context = round_context(contract.plan, contract.strategy, LAYOUT, 1, 3)
        layout = payload_layout(contract.plan, contract.strategy, contract.task, context, work)
        fields = {
            "plan_hash": contract.plan_hash,
            "run": bytes(16),
            "round": 1,
            "attempt": 1,
            "work": work,
            "model_hash": messages.model_hash(TENSORS, NAMES),
            "cohort": ("site-1", "site-2", "site-3"),
            "quorum": 1,
            "words": layout.words,
            "levels": layout.levels,
            "lanes": layout.lanes_used,
        }
        header = Header(**{**fields, **changes})
        return messages.parse_reply(
            self.site.handle(messages.request(Open(header.serialise(), TENSORS, NAMES)))
        )


@pytest.fixture
def home(partners):
    return Asked(partners, toy_plan())


def refused(answer, line):
    assert isinstance(answer, Refusal), "the site went along"
    assert answer.reason == Reason.POLICY
    assert answer.text.startswith(f"policy line {line}: ")


def test_a_round_that_is_allowed_is_worked_on(home):
    assert not isinstance(home.ask(), Refusal)


def test_a_change_counts_from_the_next_round(home):
    assert not isinstance(home.ask(), Refusal)
    home.allow("cohort = 3", "cohort = 4")
    refused(home.ask(round=2), "floors.cohort")
    home.allow("cohort = 4", "cohort = 2")
    assert not isinstance(home.ask(round=2), Refusal)
    approval.record(home.folder, "withdraw", plan_name(home.plan), "toy", "kim", NOON)
    refused(home.ask(round=3), "allow.plans")


def test_every_round_is_asked_and_evaluations_too(home):
    home.allow("hours = []", 'hours = ["20:00-06:00"]')
    for changes in ({}, {"round": 3}, {"round": 4, "work": Work.EVALUATE}):
        refused(home.ask(**changes), "limits.hours")


def test_nothing_is_trained_measured_or_written_before_the_policy_agreed(home):
    home.allow("rounds = 100", "rounds = 1")

    def fail(*_):
        pytest.fail("the site worked")

    home.site.trainer.train = home.site.trainer.evaluate = home.site.new_session = fail
    home.site.memory = None
    refused(home.ask(), "limits.rounds")


def test_rounds_beyond_the_plan_are_not_worked_on(home):
    refused(home.ask(round=home.plan.rounds.count + 1), "limits.rounds")


@pytest.mark.parametrize("damage", ["schema = 2", "[data]\npath = 7 # secret-ward.csv", "nonsense"])
def test_a_policy_that_cannot_be_read_refuses_and_tells_only_at_home(home, damage, caplog):
    home.folder.settings_path.write_text(damage)
    with caplog.at_level(logging.ERROR):
        answer = home.ask()
    assert (answer.reason, answer.text) == (Reason.POLICY, "this site's policy cannot be read.")
    assert "site.toml" in caplog.text


def test_damaged_approvals_refuse(home):
    path = home.folder.approvals_path
    path.write_bytes(path.read_bytes().replace(b"kim", b"lee"))
    assert home.ask().text == "this site's policy cannot be read."


def spend(home, rounds):
    """Charge the site's ledger for rounds of an earlier run."""
    book = PolicyBook(home.folder)
    path = book.ledger_path(load(home.folder.settings_path))
    path.parent.mkdir(exist_ok=True)
    planned = plan_schedule(home.plan)
    with Ledger(path, "records", "record", planned.accountant) as ledger:
        for number in range(rounds):
            ledger.charge(ChargeKey("earlier", number, 1), planned.round_event, Budget(1e6, 1e-5))
    return path


@pytest.mark.slow
def test_what_was_ever_spent_counts(partners):
    home = Home(partners, toy_plan(privacy=PRIVACY, strategy=StrategySettings(weighting="uniform")))
    home.allow("epsilon_per_run = 0.0", "epsilon_per_run = 8.0")
    home.allow("epsilon_for_ever = 0.0", "epsilon_for_ever = 8.0")
    cohort = ("site-1", "site-2", "site-3")
    header = Header(home.plan_hash, bytes(16), 1, 1, Work.TRAIN, bytes(32), cohort, 1, 1, 1)
    home.policy.require(home.plan, home.plan_hash, header)
    path = spend(home, 3)
    assert 8.0 < epsilon_after(path, home.plan, 1, 0, 1e-5) < 12.0
    with pytest.raises(BudgetError, match=r"limits\.epsilon_for_ever"):
        home.policy.require(home.plan, home.plan_hash, header)


def test_what_was_spent_stays_here(home):
    class Spent:
        def require(self, plan, plan_hash, header):
            raise BudgetError("this release would bring the spending on wards.jsonl to ε = 8.1234.")

    home.site.policy = Spent()
    answer = home.ask()
    assert (answer.reason, answer.text) == (Reason.BUDGET, "this site's privacy budget does not pay for it")


def test_a_ledger_that_cannot_be_read_is_not_described(partners, caplog):
    home = Home(partners, toy_plan(privacy=PRIVACY, strategy=StrategySettings(weighting="uniform")))
    path = home.policy.ledger_path(load(home.folder.settings_path))
    path.parent.mkdir(exist_ok=True)
    path.write_text("damaged\n")
    header = Header(home.plan_hash, bytes(16), 1, 1, Work.TRAIN, bytes(32), ("site-1",) * 3, 1, 1, 1)
    with pytest.raises(RefusedError) as error:
        home.policy.require(home.plan, home.plan_hash, header)
    assert str(error.value) == "this site's ledger cannot be read."
    assert "records.jsonl is damaged at line 1" in caplog.text


def test_what_is_wrong_with_data_stays_here(home):
    def fail(*_):
        raise DataError("wards.csv: only 1 of 7 rows can be used.")

    home.site.trainer.train = fail
    answer = home.ask()
    assert (answer.reason, answer.text) == (Reason.FAILED, "this site's data or records cannot be used")

"""A site's purse: what it pays, what it refuses by itself, and which data it pays for."""

import json
import stat

import pytest

from sealora.client.purse import Purse
from sealora.privacy.binding import binding_path
from sealora.privacy.events import Budget, Composition, GaussianRelease
from sealora.privacy.ledger import read_charges
from sealora.privacy.schedule import schedule
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.errors import BudgetError, DataError, ProtocolError, RefusedError, UsageError
from sealora.protocol.messages import Header, Work

DELTA = 1e-5
PROMISE = {
    "guarantee": "record",
    "epsilon": 100.0,
    "delta": DELTA,
    "sampling_rate": 0.5,
    "expected_batch": 8.0,
    "steps_per_round": 1,
    "noise_multiplier": 1.0,
}
ROWS = b"a digest of these rows".ljust(32)


def planned(**changes):
    return schedule(PrivacySettings(**{**PROMISE, **changes}), 1, 3)


def header(round_number=1, attempt=1, run=1, work=Work.TRAIN):
    return Header(
        plan_hash=bytes(32),
        run=bytes([run]) * 16,
        round=round_number,
        attempt=attempt,
        work=work,
        model_hash=bytes(32),
        cohort=("a",),
        quorum=1,
        words=1,
        levels=1,
    )


@pytest.fixture
def purse(tmp_path):
    def make(budget=100.0, data=ROWS, name="a", delta=DELTA, **changes):
        path = tmp_path / "ledgers" / f"{name}.jsonl"
        return Purse(path, name, planned(**changes), Budget(budget, delta), data)

    return make


def test_each_payment_is_the_next_line_and_gives_the_head(purse):
    made = purse()
    heads = [made.pay(header(number)) for number in (1, 2)]
    assert [head.count for head in heads] == [2, 3]
    assert len({head.digest for head in heads}) == 2
    assert [charge.event for charge in read_charges(made.path)] == [made.schedule.round_event] * 2


def test_one_charge_pays_for_one_release(purse):
    made = purse()
    made.pay(header())
    with pytest.raises(ProtocolError, match="already paid for"):
        made.pay(header())
    made.pay(header(attempt=2))


def test_a_site_may_have_less_to_spend_than_the_plan(purse):
    poor = purse(budget=(planned().epsilon(1) + planned().epsilon(2)) / 2)
    poor.pay(header(1))
    with pytest.raises(BudgetError, match=r"above its budget of .*Raise the site's budget"):
        poor.pay(header(2))
    assert len(read_charges(poor.path)) == 1


def test_the_plans_budget_is_for_one_run_and_the_sites_for_all(purse):
    limit = (planned().epsilon(1) + planned().epsilon(2)) / 2
    rich = purse(budget=planned().epsilon(2) * 1.001, epsilon=limit)
    rich.pay(header(1))
    with pytest.raises(BudgetError, match=r"bring the run to .* above the plan's budget"):
        rich.pay(header(2))
    rich.pay(header(1, run=2))
    with pytest.raises(BudgetError, match="above its budget"):
        rich.pay(header(1, run=3))
    assert len(read_charges(rich.path)) == 2


def test_another_delta_does_not_hide_the_plans_budget(purse):
    """A site may account at a larger δ, where ε is smaller; the plan's budget is at the plan's."""
    limit = (planned().epsilon(1) + planned().epsilon(2)) / 2
    other = purse(budget=limit, epsilon=limit, delta=0.1)
    other.pay(header(1))
    with pytest.raises(BudgetError, match="plan's budget"):
        other.pay(header(2))


def test_noised_metrics_are_charged_beside_the_training_and_alone(purse):
    made = purse(metrics="noised", metrics_noise=5.0)
    made.pay(header(1))
    made.pay(header(4, work=Work.EVALUATE))
    training, evaluation = (charge.event for charge in read_charges(made.path))
    assert training == Composition((made.schedule.training, GaussianRelease(5.0)))
    assert evaluation == GaussianRelease(5.0)


def test_metrics_that_the_plan_does_not_release_have_no_price(purse):
    made = purse()
    with pytest.raises(RefusedError, match="not released"):
        made.pay(header(work=Work.EVALUATE))
    assert not made.path.exists()


# --- which data it pays for ---


def test_the_same_data_go_on_and_others_are_refused(purse):
    purse().pay(header(1))
    purse().check()
    purse().pay(header(2))
    for refused in (lambda: purse(data=bytes(32)).check(), lambda: purse(data=bytes(32)).pay(header(3))):
        with pytest.raises(RefusedError, match=r"pays for other data than these.*remove a\.data"):
            refused()
    assert len(read_charges(purse().path)) == 2


def test_who_removes_the_fingerprint_keeps_what_was_spent(purse):
    purse().pay(header(1))
    binding_path(purse().path).unlink()
    purse(data=bytes(32)).pay(header(2))
    assert len(read_charges(purse().path)) == 2
    with pytest.raises(RefusedError, match="other data"):
        purse().pay(header(3))


def test_the_fingerprint_is_keyed_and_for_its_owner_alone(purse):
    for name in ("a", "b"):
        purse(name=name).pay(header())
    stored = [json.loads(binding_path(purse(name=name).path).read_text()) for name in ("a", "b")]
    assert stored[0]["fingerprint"] != stored[1]["fingerprint"]
    for name in ("a", "b"):
        path = binding_path(purse(name=name).path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert ROWS.hex() not in path.read_text()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": "x", "key": "", "fingerprint": ""}'])
def test_a_damaged_fingerprint_is_refused(purse, content):
    purse().pay(header(1))
    binding_path(purse().path).write_text(content)
    with pytest.raises(DataError, match="cannot be read"):
        purse().pay(header(2))
    assert len(read_charges(purse().path)) == 1


def test_a_ledger_of_records_does_not_pay_for_groups(purse):
    purse().pay(header(1))
    with pytest.raises(UsageError, match="not the group-level one"):
        purse(unit="group").check()


def test_there_is_nothing_to_check_before_the_first_payment(purse):
    purse().check()
    assert not purse().path.exists()

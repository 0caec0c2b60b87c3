"""Whole runs under record-level privacy: what leaves a site, what is paid, and how a budget ends a run."""

import json
import math

import pytest

import sealora
from sealora.plan.loader import load
from sealora.plan.privacy_forecast import plan_schedule
from sealora.privacy.ledger import read_charges
from sealora.protocol import messages
from sealora.protocol.errors import UsageError
from sealora.protocol.messages import Header, Open, Reason, Refusal, Work
from sealora.simulation.federation import assemble

PRIVACY = """
[strategy]
weighting = "uniform"

[privacy]
guarantee = "record"
epsilon = {epsilon}
delta = 1e-3
sampling_rate = 0.5
expected_batch = 8
steps_per_round = 1
noise_multiplier = 1.0
"""


@pytest.fixture
def plan(tiny, tmp_path):
    """A plan of five rounds; `epsilon` is each site's budget."""

    def write(epsilon=1000.0, extra=""):
        path = tiny.plan(
            tmp_path / "plan",
            ("count = 3", "count = 5"),
            ("[lora]", "drop_duplicates = false\n\n[lora]"),
        )
        path.write_text(path.read_text() + PRIVACY.format(epsilon=epsilon) + extra)
        return load(path)

    return write


@pytest.fixture
def affordable(plan):
    """A budget that pays for exactly two rounds."""
    planned = plan_schedule(plan())
    return (planned.epsilon(2) + planned.epsilon(3)) / 2


@pytest.mark.slow
def test_a_private_run_pays_for_every_round_and_shows_nothing_else(plan, tmp_path):
    made = plan()
    run = sealora.simulate(made, tmp_path / "run")
    privacy = run.result["privacy"]
    assert privacy["epsilon"] == pytest.approx(plan_schedule(made).epsilon(5))
    assert set(privacy["sites"].values()) == {privacy["epsilon"]}
    assert f"({privacy['epsilon']:.4g}, 0.001)-differential privacy" in privacy["statement"]
    assert run.result["stopped"] is None
    assert run.result["train_loss"] == [None] * 5
    assert all(value is None for metrics in run.result["curve"] for value in metrics.values())
    assert all(site["metrics"] is None for site in run.result["sites"].values())
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:-1]:
        record = json.loads(line)
        assert (record["clipped"], record["train_loss"]) == (None, None)
    ledgers = sorted((tmp_path / "run" / "state" / "ledgers").iterdir())
    assert len(ledgers) == 5
    for path in ledgers:
        assert [charge.key.round for charge in read_charges(path)] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_budget_ends_a_run_and_no_resume_goes_past_it(plan, affordable, tmp_path):
    made = plan(affordable)
    for resume in (False, True):
        run = sealora.simulate(made, tmp_path / "run", resume=resume)
        assert "do not pay for round 3: the model is that of round 2" in run.result["stopped"]
        assert len(run.result["train_loss"]) == 2
        assert run.result["privacy"]["epsilon"] == pytest.approx(plan_schedule(made).epsilon(2))
        for path in (tmp_path / "run" / "state" / "ledgers").iterdir():
            assert [charge.key.round for charge in read_charges(path)] == [1, 2]


@pytest.mark.slow
def test_metrics_of_a_public_table_are_shown(plan, tiny, tmp_path):
    made = plan(extra=f'metrics = "public"\npublic_holdout = "{tiny.data}"\n').replace(rounds={"count": 2})
    result = sealora.simulate(made, tmp_path / "run").result
    assert [0 <= metrics["accuracy"] <= 1 for metrics in result["curve"]] == [True] * 3
    assert sum(entry["support"] for entry in result["tables"]["classes"].values()) == 100
    assert all(site["metrics"] is None for site in result["sites"].values())


def test_a_comparison_would_break_the_promise(plan, tmp_path):
    with pytest.raises(UsageError, match=r"without privacy.*Leave out --compare"):
        sealora.simulate(plan(), tmp_path / "run", compare=True)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def federation(plan, tmp_path):
    return assemble(plan().replace(secure_aggregation={"enabled": False}), tmp_path / "state")


def opening(federation, **changes):
    """A coordinator's honest request, but for the changes."""
    from sealora.models.adapter import pack
    from sealora.plan.payload import payload_layout

    contract = federation.contract
    tensors, layout = pack(federation.initial.tensors), federation.initial.layout
    trains = tuple(spec.name for spec in layout.specs)
    words = payload_layout(contract.plan, contract.strategy, contract.task, layout, 5, Work.TRAIN)
    assert {segment.name for segment in words.segments} == {"update/update", "weight"}
    fields = {
        "plan_hash": contract.plan_hash,
        "run": bytes(16),
        "round": 1,
        "attempt": 1,
        "work": Work.TRAIN,
        "model_hash": messages.model_hash(tensors, trains),
        "cohort": tuple(sorted(federation.sites)),
        "quorum": 1,
        "words": words.words,
        "levels": words.levels,
    }
    return messages.request(Open(Header(**{**fields, **changes}).serialise(), tensors, trains))


def test_a_site_pays_once_for_each_release(federation, plan, tmp_path):
    """All rows train; a replay is refused, also by a restarted site, and another attempt costs again."""
    name = min(federation.sites)
    site = federation.sites[name]
    assert not site.data.test
    assert not isinstance(messages.parse_reply(site.handle(opening(federation))), Refusal)
    assert not site.metrics
    restarted = assemble(plan().replace(secure_aggregation={"enabled": False}), tmp_path / "state").sites[
        name
    ]
    for party in (site, restarted):
        answer = messages.parse_reply(party.handle(opening(federation)))
        assert isinstance(answer, Refusal)
        assert answer.reason == Reason.PROTOCOL
    assert len(read_charges(site.purse.path)) == 1
    assert not isinstance(messages.parse_reply(restarted.handle(opening(federation, attempt=2))), Refusal)
    assert [charge.key.attempt for charge in read_charges(site.purse.path)] == [1, 2]


def test_a_site_measures_nothing_on_private_rows(federation):
    site = federation.sites[min(federation.sites)]
    answer = messages.parse_reply(site.handle(opening(federation, work=Work.EVALUATE)))
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.POLICY
    assert not site.purse.path.exists()


def test_a_site_refuses_by_itself_what_its_budget_does_not_pay(federation):
    site = federation.sites[min(federation.sites)]
    planned = site.purse.schedule
    poor = type(planned.budget)(planned.epsilon(1) * 0.99, planned.budget.delta)
    site.purse = type(site.purse)(
        site.purse.path, site.name, type(planned)(planned.round_event, 5, poor, planned.accountant)
    )
    answer = messages.parse_reply(site.handle(opening(federation)))
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.BUDGET
    assert read_charges(site.purse.path) == []
    assert math.isfinite(planned.epsilon(1))

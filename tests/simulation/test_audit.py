"""Audits of runs and plans: what is claimed, which attacks apply, and what breaks a claim."""

import json
import shutil

import pytest

import sealora
from sealora.plan.loader import Plan, load
from sealora.plan.privacy_forecast import plan_schedule
from sealora.protocol.errors import UsageError
from sealora.simulation import audit as audits
from sealora.simulation.audit import Audit, audit
from sealora.simulation.audit_report import AuditReport, Finding, Inapplicable
from sealora.simulation.run_folder import RunFolder

PRIVACY = """
[strategy]
weighting = "uniform"

[privacy]
guarantee = "record"
epsilon = {epsilon}
delta = 1e-3
sampling_rate = 0.5
expected_batch = 8
steps_per_round = 2
noise_multiplier = 1.0
"""


@pytest.fixture(scope="module")
def plans(tiny, tmp_path_factory):
    def write(epsilon=1000.0):
        folder = tmp_path_factory.mktemp("plan")
        path = tiny.plan(folder, ("[lora]", "drop_duplicates = false\nrows = 60\n\n[lora]"))
        path.write_text(path.read_text() + PRIVACY.format(epsilon=epsilon))
        return path

    return write


@pytest.fixture(scope="module")
def private(plans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("private") / "run"
    sealora.simulate(plans(), folder, rounds=2)
    return folder


@pytest.mark.slow
def test_a_plan_claims_what_its_rounds_would_spend(plans):
    plan = load(plans())
    claim = Audit(plan, None, 0).claim
    assert claim.rounds == 3
    assert claim.epsilon == pytest.approx(plan_schedule(plan).epsilon(3))


def test_a_plan_claims_no_more_than_its_budget_pays_for(plans):
    whole = plan_schedule(load(plans()))
    budget = (whole.epsilon(1) + whole.epsilon(2)) / 2
    claim = Audit(load(plans(budget)), None, 0).claim
    assert (claim.rounds, claim.epsilon) == (1, pytest.approx(whole.epsilon(1)))
    poor = Audit(load(plans(whole.epsilon(1) / 2)), None, 0)
    assert poor.claim.rounds == 0
    with pytest.raises(Inapplicable, match="the budget pays for no round"):
        poor.canaries(print)


def test_a_plan_without_a_guarantee_claims_nothing(tiny, tmp_path):
    open_plan = load(tiny.plan(tmp_path))
    assert Audit(open_plan, None, 0).claim is None
    with pytest.raises(Inapplicable, match="none is claimed"):
        Audit(open_plan, None, 0).canaries(print)


@pytest.mark.slow
def test_a_run_claims_what_its_ledgers_say(private):
    folder = RunFolder.open(private)
    claim = Audit(folder.plan, folder, 0).claim
    assert claim.rounds == 2
    assert claim.epsilon == folder.result["privacy"]["epsilon"]


@pytest.mark.slow
def test_ledgers_that_are_not_the_runs_are_refused(private, tmp_path):
    shutil.copytree(private, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "state" / "ledgers")
    folder = RunFolder.open(tmp_path / "run")
    with pytest.raises(UsageError, match=r"not those that result\.json reports on"):
        _ = Audit(folder.plan, folder, 0).claim


@pytest.mark.slow
def test_a_private_run_passes_and_without_noise_it_does_not(private):
    report = sealora.audit(private, only=["canaries", "membership"])
    assert [(f.attack, f.verdict) for f in report.findings] == [
        ("canaries", "holds"),
        ("membership", "holds"),
    ]
    assert report.findings[0].figures["steps"] == 4
    assert not report.broken
    spoilt = sealora.audit(sealora.Run.load(private), only=["canaries"], noise=False)
    assert spoilt.broken


@pytest.fixture
def stubs(monkeypatch):
    """Attacks that take no time."""
    holds = Finding("canaries", "a", "b", "c", "holds", {"epsilon": float("inf")})
    monkeypatch.setattr(audits, "audit_canaries", lambda *_: holds)
    monkeypatch.setattr(
        audits,
        "audit_inversion",
        lambda seed, masked, tell: [Finding("inversion", "a", f"{seed} {masked}", "c", "broken")],
    )


def test_of_all_attacks_those_that_cannot_be_made_are_skipped(stubs, tiny, tmp_path):
    plan = load(tiny.plan(tmp_path))
    report = audit(Audit(plan, None, 5), "the plan")
    assert [(f.attack, f.verdict) for f in report.findings] == [
        ("canaries", "skipped"),
        ("inversion", "broken"),
        ("membership", "skipped"),
    ]
    assert report.findings[1].found == "5 True"
    assert "Audit a run of it." in report.findings[2].found
    assert report.broken


def test_an_attack_that_was_asked_for_is_not_skipped(stubs, plans):
    assert [f.attack for f in sealora.audit(plans(), only=["canaries"]).findings] == ["canaries"]
    with pytest.raises(Inapplicable, match="a plan has none"):
        sealora.audit(plans(), only=["membership"])


def test_subjects_are_named(stubs, plans):
    path = plans()
    assert sealora.audit(path, only=["canaries"]).subject == str(path)
    assert sealora.audit(Plan.load(path), only=["canaries"]).subject == "tiny"


def test_the_report_is_json():
    findings = (Finding("canaries", "a", "b", "c", "holds", {"epsilon": float("inf")}),)
    content = json.loads(json.dumps(AuditReport("run", 1, findings).to_dict(), allow_nan=False))
    assert content["format"] == 1
    assert not content["broken"]
    assert content["findings"] == [
        {
            "attack": "canaries",
            "target": "a",
            "found": "b",
            "claimed": "c",
            "verdict": "holds",
            "figures": {"epsilon": None},
        }
    ]

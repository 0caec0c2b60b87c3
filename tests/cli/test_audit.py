"""`sealora audit`: its table, its JSON, and exit code 1 for a broken claim."""

import json

import pytest

from sealora.simulation import audit as audits
from sealora.simulation import audit_inversion
from sealora.simulation.audit_report import Finding

pytestmark = pytest.mark.slow

PRIVACY = """
[strategy]
weighting = "uniform"

[privacy]
guarantee = "record"
epsilon = 8.0
delta = 1e-5
sampling_rate = 0.5
expected_batch = 8
steps_per_round = 2
"""


@pytest.fixture
def plan(tiny, tmp_path):
    path = tiny.plan(tmp_path, ("[lora]", "drop_duplicates = false\n\n[lora]"))
    path.write_text(path.read_text() + PRIVACY)
    return path


def test_a_plan_that_holds(plan, command, tmp_path):
    out = tmp_path / "report.json"
    code, printed, err = command("audit", plan, "--only", "canaries", "--out", out, "--json")
    assert (code, err) == (0, "")
    report = json.loads(printed)
    assert json.loads(out.read_text()) == report
    assert report["subject"] == str(plan)
    assert [finding["verdict"] for finding in report["findings"]] == ["holds"]


def test_a_broken_claim_ends_with_one(plan, command, tmp_path):
    out = tmp_path / "report.json"
    code, printed, err = command("audit", plan, "--only", "canaries", "--without-noise", "--out", out)
    assert (code, err) == (1, "")
    assert "broken" in printed
    assert "A claim is broken." in printed
    assert json.loads(out.read_text())["broken"]


def test_findings_are_shown_as_they_are(plan, command, monkeypatch):
    """No markup in them is taken for one, and the last line promises nothing where nothing was."""
    finding = Finding("inversion", "a [red]text", "b", "c", "no claim")
    monkeypatch.setattr(audits, "audit_inversion", lambda *_: [finding])
    code, printed, _ = command("audit", plan, "--only", "inversion", "--seed", 3)
    assert code == 0
    assert "a [red]text" in " ".join(printed.split())
    assert printed.splitlines()[-1] == "No claim was tested."


def test_an_attack_that_is_too_weak_is_no_success(plan, command, monkeypatch):
    shares = {"plain": 0.5, "sum": 0.0, "private": 0.0, "sum_with_a_guess_for_each_site": 0.0}
    found = audit_inversion._findings(True, shares, longest=40, tokens=100)
    monkeypatch.setattr(audits, "audit_inversion", lambda *_: found)
    code, printed, _ = command("audit", plan, "--only", "inversion")
    assert code == 1
    assert printed.splitlines()[-1].startswith("A claim was not tested: ")
    code, printed, _ = command("audit", plan, "--only", "inversion", "--json")
    assert (code, json.loads(printed)["untested"]) == (1, True)


def test_an_unknown_attack(plan, command):
    code, _, err = command("audit", plan, "--only", "guessing")
    assert code == 2
    assert "'canaries', 'inversion', 'membership'" in err

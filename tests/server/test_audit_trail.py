"""The coordinator's log of a run follows from its events."""

from sealora.plan.settings import RoundsSettings
from sealora.privacy.audit_log import AuditLog, read_records, traffic
from sealora.server.audit_trail import AuditTrail
from sealora.server.events import AttemptLost, AttemptOpened, BudgetSpent, SiteRefused
from sealora.simulation.toy import toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings


def test_a_run_is_on_the_log(tmp_path):
    toy = toy_federation(tmp_path / "toy", sites=3, plan=toy_plan(rounds=RoundsSettings(count=2)))
    path = tmp_path / "audit.jsonl"
    history = []

    class Recorder:
        def notify(self, event):
            history.append(event)

    with AuditLog(path, "coordinator") as log:
        toy.coordinator(observers=(AuditTrail(log), Recorder())).run()
    records = read_records(path)
    kinds = [record.kind for record in records]
    assert (kinds[0], kinds[-1], kinds.count("round done")) == ("run started", "run evaluated", 2)
    done = [record.detail for record in records if record.kind == "round done"]
    assert [facts["round"] for facts in done] == [1, 2]
    assert done[0]["contributors"] == "site-1 site-2 site-3"
    answered = [event for event in history if type(event).__name__ == "SiteAnswered"]
    assert traffic(records, "in")["train reply"].size == sum(event.bytes_up for event in answered)
    assert traffic(records, "out")["train request"].size == sum(event.bytes_down for event in answered)


def test_what_goes_wrong_is_on_it_too(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, "coordinator") as log:
        trail = AuditTrail(log)
        trail.notify(SiteRefused(3, "ams", "policy", "policy line limits.hours: not now"))
        trail.notify(AttemptLost(3, 1, "too few"))
        trail.notify(BudgetSpent(4, ("ams", "ber")))
        trail.notify(AttemptOpened(5, 1, tuple(f"site-{number:05}" for number in range(100_000))))
    refused, lost, spent, opened = read_records(path)
    assert (refused.detail["site"], refused.detail["text"]) == ("ams", "policy line limits.hours: not now")
    assert (lost.kind, spent.detail["sites"]) == ("attempt lost", "ams ber")
    assert opened.detail["cohort"] == "100000 sites"


def test_no_text_is_too_long_for_it(tmp_path):
    """Sites have a say in these, and each of these characters is twelve bytes there."""
    path, text = tmp_path / "audit.jsonl", "\U0001f600" * 20_000
    with AuditLog(path, "coordinator") as log:
        AuditTrail(log).notify(SiteRefused(3, "ams", "policy", text))
        AuditTrail(log).notify(AttemptLost(3, 1, text))
    refused, lost = read_records(path)
    assert refused.detail["text"] == lost.detail["reason"]
    assert lost.detail["reason"] == text[: len(lost.detail["reason"]) - 1] + "…"


def test_each_group_with_a_sum_is_on_it(tmp_path):
    strategy = StrategySettings(name="median", options={"groups": 3})
    plan = toy_plan(rounds=RoundsSettings(count=1), strategy=strategy)
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, "coordinator") as log:
        toy_federation(tmp_path / "toy", 6, plan).coordinator(observers=[AuditTrail(log)]).run()
    groups = [record.detail for record in read_records(path) if record.kind == "group summed"]
    assert [(facts["round"], facts["group"], facts["attempt"]) for facts in groups] == [
        (1, number, 1) for number in (1, 2, 3)
    ]
    assert " ".join(sorted(" ".join(facts["contributors"] for facts in groups).split())) == (
        "site-1 site-2 site-3 site-4 site-5 site-6"
    )

"""What simulated sites hold of an attempt goes with it, and what they must remember does not."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest

from sealora.plan.settings import CohortSettings, RoundsSettings
from sealora.protocol import messages
from sealora.protocol.messages import Header, Reason, Refusal, Work
from sealora.protocol.secure_site import SecureSiteHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.simulation import sessions
from sealora.simulation.fleet import InProcessFleet
from sealora.simulation.toy import toy_federation, toy_plan

SECURE = SecureAggregationSettings()
HEADER = Header(
    plan_hash=bytes(32), run=bytes(16), round=1, attempt=1, work=Work.TRAIN, model_hash=bytes(32),
    cohort=("a",), quorum=1, words=1, levels=1,
)  # fmt: skip


def toy(folder, sites=9, size=5, rounds=4):
    plan = toy_plan(
        rounds=RoundsSettings(count=rounds), cohort=CohortSettings(size=size), secure_aggregation=SECURE
    )
    return toy_federation(folder, sites, plan)


@pytest.mark.parametrize("kept", [1000, 8], ids=["logs in memory", "logs on disk"])
def test_a_run_is_the_same_wherever_the_logs_are(tmp_path, monkeypatch, kept):
    expected = toy(tmp_path / "expected").coordinator().run()[0].sha256()
    monkeypatch.setattr(sessions, "LOGS_IN_MEMORY", kept)
    assert toy(tmp_path / "run").coordinator().run()[0].sha256() == expected


def test_logs_on_disk_keep_every_record_and_go_with_the_simulation(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "LOGS_IN_MEMORY", 8)
    monkeypatch.setattr(sessions, "mkdtemp", lambda prefix: str(_made(tmp_path / prefix)))
    federation = toy(tmp_path / "run")
    federation.coordinator().run()
    (folder,) = tmp_path.glob("sealora-logs-*")
    kinds = [b'"begin"', b'"contribute"', b'"observe"', b'"state"', b'"release"']
    for log in folder.iterdir():
        lines = log.read_bytes().splitlines()
        assert len(lines) % len(kinds) == 0, "every attempt was written to its end"
        assert all(kind in line for kind, line in zip(kinds * (len(lines) // 5), lines, strict=True))
    del federation
    gc.collect()
    assert not folder.exists()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_no_half_outlives_its_attempt(tmp_path):
    federation = toy(tmp_path, rounds=3)
    federation.coordinator().run()
    gc.collect()
    alive = [half for half in gc.get_objects() if type(half) is SecureSiteHalf]
    assert len(alive) == 9, "those of the evaluation, which asked all"


def test_a_site_answers_nothing_about_an_attempt_that_is_over(tmp_path):
    federation = toy(tmp_path, sites=4, size=0, rounds=1)
    caught: dict[str, bytes] = {}
    exchange = InProcessFleet.exchange

    class Recording(InProcessFleet):
        def exchange(self, requests, deadline):
            caught.update(requests)
            yield from exchange(self, requests, deadline)

    coordinator = federation.coordinator()
    coordinator.fleet = Recording({name: site.handle for name, site in federation.sites.items()})
    coordinator.run()
    site = federation.sites["site-1"]
    assert not isinstance(messages.parse_reply(site.handle(caught["site-1"])), Refusal), "it answers again"
    site._session.sessions._turn_to(replace(HEADER, round=7))
    refused = messages.parse_reply(site.handle(caught["site-1"]))
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.text) == (Reason.PROTOCOL, "the attempt is over")

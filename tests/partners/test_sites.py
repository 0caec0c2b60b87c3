"""Sites that are slow, late or absent, and coordinators that are one too many."""

import pytest
from processes import Federation

from sealora.simulation.faults import Fault

pytestmark = pytest.mark.slow
TRAIN, LATE = 0, 1e12


def test_a_slow_site_is_left_behind_and_joins_the_next_round(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=5, deadline=8.0) as federation:
        gate = federation.gate("site-2")
        federation.open()
        federation.coordinator.wait_for("PhaseOpened", round=1, phase="share")
        gate.open()
        assert (
            federation.result()["sha256"]
            == simulated(federation.root, {("site-2", 1): Fault(0, LATE)})["sha256"]
        )
        assert len(federation.agents["site-2"].events("training")) == 2


def test_a_late_site_joins_the_round_that_is_open(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=4) as federation:
        federation.coordinate()
        for site in federation.names[:-1]:
            federation.agent(site)
            federation.link(site)
        for _ in federation.names[:-1]:
            federation.coordinator.wait_for("SiteAnswered", round=1, phase="train")
        federation.agent(federation.names[-1])
        federation.link(federation.names[-1])
        assert federation.result() == simulated(federation.root)


def test_an_absent_site_is_waited_for_and_then_left_out(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=5, patience=1.0) as federation:
        federation.coordinate()
        gates = [federation.gate(site) for site in federation.names[:-1]]
        for site in federation.names[:-1]:
            federation.agent(site)
            federation.link(site).wait_for("connected")
        for gate in gates:
            gate.open()
        lost = {("site-5", number): Fault(TRAIN) for number in (1, 2)}
        assert federation.result()["sha256"] == simulated(federation.root, lost)["sha256"]


def test_too_few_sites_are_a_countdown_and_not_a_failure(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=4, patience=0.0) as federation:
        federation.coordinate()
        for site in federation.names[:2]:
            federation.agent(site)
            federation.link(site).wait_for("connected")
        waiting = federation.coordinator.wait_for("waiting", sites=2)
        assert 0 < waiting["seconds"] <= 60
        gates = [federation.gate(site) for site in federation.names[2:]]
        for site in federation.names[2:]:
            federation.agent(site)
            federation.link(site).wait_for("connected")
        for gate in gates:
            gate.open()
        assert federation.result() == simulated(federation.root)
        assert not federation.coordinator.events("AttemptLost")


def test_two_coordinators_do_not_share_a_folder(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        first = federation.coordinate()
        first.wait_for("listening")
        second = federation.coordinate()
        assert second.finish() == 1
        assert f"another coordinator (process {first.pid}) works on" in "".join(second.other)
        federation.coordinator = first
        for site in federation.names:
            federation.agent(site)
            federation.link(site)
        assert federation.result() == simulated(federation.root)


def test_two_agents_do_not_share_an_attempt_log(tmp_path):
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        federation.agent("site-1").wait_for("listening")
        second = federation.agent("site-1")
        assert second.finish() == 1
        assert "attempts.jsonl is in use by another process" in "".join(second.other)

"""Machines that fail in other ways than by dying: full disks, and clocks that are a day wrong."""

import pytest
from processes import Federation
from test_kills import ROUNDS, trainings

from sealora.client.attempt_file import ATTEMPTS
from sealora.privacy.audit_log import read_records
from sealora.privacy.chain import read_chain
from sealora.simulation.faults import Fault

pytestmark = pytest.mark.slow
SHARE, MASK = 1, 2


def test_a_site_with_a_full_disk_sits_the_round_out_and_goes_on_when_there_is_room(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=4, colluders=0) as federation:
        full, other = (federation.hold("site-2", 1, SHARE), federation.hold("site-3", 1, MASK))
        federation.open()
        agent = federation.agents["site-2"]
        agent.wait_for("held")
        with agent.full_disk():
            full.open()
            failed = agent.wait_for("failed")
        assert failed["reason"] == "audit.jsonl cannot be written: File too large."
        federation.agents["site-3"].wait_for("held")
        other.open()
        assert federation.result() == simulated(federation.root, {("site-2", 1): Fault(SHARE)})
        assert trainings(federation) == dict.fromkeys(federation.names, ROUNDS)
        assert read_records(federation.root / "site-2" / "audit.jsonl")
        assert list(read_chain(federation.root / "site-2" / "attempts.jsonl", ATTEMPTS))


def test_a_coordinator_with_a_full_disk_ends_and_goes_on_where_it_was(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        hold = federation.hold("site-2", 2, MASK)
        federation.open()
        federation.agents["site-2"].wait_for("held")
        with federation.coordinator.full_disk():
            hold.open()
            assert federation.coordinator.finish() == 1
        assert "File too large" in "".join(federation.coordinator.other)
        federation.coordinate()
        assert federation.result() == simulated(federation.root)
        assert trainings(federation) == dict.fromkeys(federation.names, ROUNDS)
        assert not federation.coordinator.events("AttemptLost")


def test_clocks_that_are_a_day_wrong_are_named_and_stop_nothing_else(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        clocks = {name: federation.root / name / "clock" for name in ("coordinator", "site-1", "site-2")}
        clocks["coordinator"].write_text("-24")
        behind = federation.coordinate()
        assert behind.finish() == 1
        assert "and the clock here says" in "".join(behind.other)
        for name, hours in (("coordinator", "24"), ("site-1", "24"), ("site-2", "-24")):
            clocks[name].write_text(hours)
        federation.open()
        federation.links["site-1"].wait_for("connected")
        line = federation.links["site-2"].wait_for("disconnected")
        while "agent" in line["reason"]:
            line = federation.links["site-2"].wait_for("disconnected")
        assert "the certificate is valid from" in line["reason"]
        assert "and the clock here says" in line["reason"]
        clocks["site-2"].unlink()
        assert federation.result() == simulated(federation.root)

"""Any process may be killed at any moment: nothing is lost that was promised, and nothing is done twice."""

import itertools
import signal

import pytest
from processes import Federation

from sealora.simulation.faults import Fault

pytestmark = pytest.mark.slow
TRAIN = 0
ROUNDS = 2


def trainings(federation):
    return {site: len(agent.events("training")) for site, agent in federation.agents.items()}


def started(federation, site):
    """Run until this site has begun to train, and is kept from going on."""
    gate = federation.gate(site)
    federation.open()
    federation.agents[site].wait_for("training")
    return gate


def test_a_killed_link_costs_nothing(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=4) as federation:
        gate = started(federation, "site-2")
        federation.links["site-2"].kill()
        federation.link("site-2").wait_for("connected")
        gate.open()
        assert federation.result() == simulated(federation.root)
        assert trainings(federation) == dict.fromkeys(federation.names, ROUNDS)


@pytest.mark.parametrize("link_too", [False, True])
def test_a_killed_agent_sits_the_attempt_out_and_rejoins(tmp_path, simulated, link_too):
    with Federation(tmp_path / "partners", sites=5) as federation:
        gate = started(federation, "site-2")
        if link_too:
            federation.links["site-2"].kill()
        federation.agents["site-2"].kill()
        gate.remove()
        federation.agent("site-2").wait_for("listening")
        if link_too:
            federation.link("site-2")
        federation.agents["site-2"].wait_for("asked")
        assert federation.result() == simulated(federation.root, {("site-2", 1): Fault(TRAIN)})
        assert trainings(federation)["site-2"] == ROUNDS - 1


PHASES = ("train", "share", "mask", "check", "unmask")


@pytest.mark.parametrize(("round_number", "phase"), itertools.product((1, 2), PHASES))
def test_a_killed_coordinator_goes_on_where_it_was(tmp_path, simulated, round_number, phase):
    with Federation(tmp_path / "partners", sites=4) as federation:
        federation.open()
        federation.coordinator.wait_for("PhaseOpened", round=round_number, phase=phase)
        federation.coordinator.kill()
        federation.coordinate()
        assert federation.result() == simulated(federation.root)
        assert trainings(federation) == dict.fromkeys(federation.names, ROUNDS)
        assert not federation.coordinator.events("AttemptLost")


def test_a_coordinator_killed_while_sites_train_keeps_their_work(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=4) as federation:
        gate = started(federation, "site-2")
        federation.coordinator.wait_for("SiteAnswered", site="site-3")
        federation.coordinator.kill()
        gate.open()
        federation.coordinate()
        assert federation.result() == simulated(federation.root)
        assert trainings(federation) == dict.fromkeys(federation.names, ROUNDS)


def test_everything_killed_at_once_starts_again_from_the_last_round(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=4) as federation:
        federation.open()
        federation.coordinator.wait_for("PhaseOpened", round=2, phase="mask")
        for process in list(federation.started):
            process.kill()
        federation.open()
        assert federation.result() == simulated(federation.root)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_agent_and_link_end_cleanly_when_told(tmp_path, number):
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        agent = federation.agent("site-1")
        agent.wait_for("listening")
        link = federation.link("site-1")
        link.wait_for("disconnected")
        expected = 130 if number == signal.SIGINT else 0
        assert link.kill(number) == expected
        assert agent.kill(number) == expected
        assert not (federation.root / "site-1" / "agent.sock").exists()
        assert agent.other == link.other == []

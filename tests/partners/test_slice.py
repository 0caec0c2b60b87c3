"""A coordinator and sites as processes on loopback: mutual TLS, secure aggregation, the toy trainer."""

import json
from contextlib import ExitStack

import pytest
from processes import HERE, Federation
from recorder import Recorder

from sealora.protocol.groups import fixed_groups
from sealora.protocol.plain import PlainSiteHalf
from sealora.protocol.secure_site import SecureSiteHalf

pytestmark = pytest.mark.slow
WINDOW = 16
"""Bytes of a vector that are searched for: two words, which hold six values or digits of counts."""


@pytest.fixture
def payloads(monkeypatch):
    """Every vector that a site of a simulation enters a session with, before it is masked."""
    found = []
    for half in (PlainSiteHalf, SecureSiteHalf):

        def start(self, words, *rest, original=half.start):
            found.append(words.astype("<u8").tobytes())
            return original(self, words, *rest)

        monkeypatch.setattr(half, "start", start)
    return found


def windows(payload):
    """Its parts that are long and varied enough to occur nowhere by chance."""
    parts = [payload[start : start + WINDOW] for start in range(0, len(payload) - WINDOW + 1, 8)]
    return [part for part in parts if len(set(part)) >= 4]


def test_a_second_run_with_the_same_agents_is_like_the_first(tmp_path):
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        federation.open()
        first = federation.result()
        (federation.root / "run").rename(federation.root / "first run")
        federation.coordinate()
        assert federation.result() == first
        for agent in federation.agents.values():
            assert len(agent.events("training")) == 4


def test_groups_of_partners_get_the_adapter_of_the_simulation(tmp_path, simulated):
    """Two groups of three, whose sums the coordinator compares; it is killed while both are open."""
    median = {"name": "median", "options": {"groups": 2, "attackers": 0}}
    with Federation(tmp_path / "partners", sites=6, colluders=0, strategy=median) as federation:
        holds = [federation.hold(site, 1, 2) for site in federation.names]
        federation.open()
        for site in federation.names:
            federation.agents[site].wait_for("held")
        federation.coordinator.kill()
        federation.coordinate()
        for hold in holds:
            hold.open()
        assert federation.result() == simulated(federation.root)
        history = json.loads((federation.root / "run" / "state" / "progress.json").read_text())["history"]
        members = [sorted(group["contributors"]) for group in history[0]["groups"]]
        assert sorted(members) == sorted(map(sorted, fixed_groups(0, federation.names, 2)))
        for agent in federation.agents.values():
            assert len(agent.events("training")) == 2


@pytest.mark.parametrize("secure", [True, False])
def test_partners_get_the_adapter_of_the_simulation(tmp_path, simulated, payloads, secure):
    """And what passes on the way shows no site's update and no count, unless the plan hides nothing."""
    with (
        ExitStack() as stack,
        Federation(tmp_path / "partners", sites=3, secure=secure, colluders=0) as federation,
    ):
        wire = stack.enter_context(Recorder.tcp(federation.port))
        pipes = [
            stack.enter_context(
                Recorder.unix(tmp_path / f"{site}.sock", federation.root / site / "agent.sock")
            )
            for site in federation.names
        ]
        federation.coordinate()
        for site in federation.names:
            federation.agent(site)
            federation.start(
                HERE / "toy_link.py",
                federation.root / site,
                f"127.0.0.1:{wire.port}",
                tmp_path / f"{site}.sock",
            )
        assert federation.result() == simulated(federation.root)
    assert len(payloads) == 3 * len(pipes), "two rounds and the evaluation"
    parts = [windows(payload) for payload in payloads]
    assert all(parts)
    for number, pipe in enumerate(pipes):
        own = [part for found in parts[number :: len(pipes)] for part in found]
        assert {pipe.holds(part) for part in own} == {not secure}
    assert not any(wire.holds(part) for found in parts for part in found)
    assert all(len(carried) > 10_000 for carried in wire.recorded.values())

"""What a site tells a monitor: figures of the link and of the agent, none about its data."""

import re

import numpy as np
import pytest

from sealora.client.agent_figures import Counted, figures_path
from sealora.client.link_figures import LinkFigures
from sealora.client.socket_place import SocketPlace
from sealora.protocol import messages
from sealora.protocol.messages import Reason, Refusal

REFUSED = messages.reply(Refusal(Reason.POLICY, "policy line limits.rounds: too many"))
ANSWERED = messages.reply(messages.contribution(bytes(32), np.zeros(2, np.uint64)))


def figures(text):
    """By name, without what `prometheus_client` adds for itself."""
    return {
        name: float(value)
        for name, value in re.findall(r"^sealora_(\w+) (\S+)$", text.decode(), re.MULTILINE)
        if not name.endswith("_created")
    }


def test_an_agent_counts_what_it_was_asked(tmp_path):
    path = figures_path(tmp_path / "agent.sock")
    counted = Counted({b"work": ANSWERED, b"no": REFUSED}.__getitem__, SocketPlace(tmp_path / "agent.sock"))
    before = figures(path.read_bytes())
    assert before["requests_total"] == before["refusals_total"] == before["work_seconds_total"] == 0
    assert counted(b"work") == ANSWERED
    assert counted(b"no") == REFUSED
    after = figures(path.read_bytes())
    assert (after["requests_total"], after["refusals_total"]) == (2, 1)
    assert after["last_answer_timestamp_seconds"] > 0
    assert "limits.rounds" not in path.read_text()


def test_figures_that_cannot_be_written_keep_nobody_from_work(tmp_path):
    counted = Counted(lambda _: ANSWERED, SocketPlace(tmp_path / "missing" / "agent.sock"))
    assert counted(b"work") == ANSWERED


def test_what_the_agent_raises_is_raised(tmp_path):
    def broken(_):
        raise RuntimeError("the log cannot be written")

    counted = Counted(broken, SocketPlace(tmp_path / "agent.sock"))
    with pytest.raises(RuntimeError, match="cannot be written"):
        counted(b"work")


def test_a_link_tells_how_it_is_and_shows_the_agents_figures(tmp_path):
    link, agent = LinkFigures(), tmp_path / "agent.prom"
    assert link.trouble == "it is starting"
    assert figures(link.exposition(agent))["coordinator_connected"] == 0
    link.reached_agent()
    link.connected()
    link.sent(70)
    link.received(30)
    agent.write_text("sealora_requests_total 4.0\n")
    found = figures(link.exposition(agent))
    assert link.trouble == ""
    assert found["agent_connected"] == found["coordinator_connected"] == found["connections_total"] == 1
    assert (found["link_bytes_sent_total"], found["link_bytes_received_total"]) == (70, 30)
    assert found["requests_total"] == 4
    link.disconnected("the agent has ended")
    gone = figures(link.exposition(agent))
    assert (gone["agent_connected"], gone["coordinator_connected"]) == (0, 0)
    assert link.trouble == "the agent has ended"

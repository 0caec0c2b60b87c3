"""An agent and a coordinator that wants to fill its memory or its log."""

import asyncio
import socket
from types import SimpleNamespace

import numpy as np
import pytest

from sealora.client import agent as module
from sealora.client import refusal_pace
from sealora.client.agent import Agent
from sealora.client.contract import Contract
from sealora.client.pipe import Pipe
from sealora.client.refusal_pace import BURST, SECONDS, RefusalPace
from sealora.client.request_size import ROOM, largest_request
from sealora.client.socket_place import SocketPlace
from sealora.models.adapter import pack
from sealora.plan.payload import round_context
from sealora.protocol import messages
from sealora.protocol.frames import VERSIONS, Part, Welcome
from sealora.protocol.messages import Open, Reason, Refusal
from sealora.simulation.toy import LAYOUT, ToyMetrics, toy_plan
from sealora.strategies.registry import BUILT_IN, load_strategy
from sealora.strategies.settings import StrategySettings

REFUSED = messages.reply(Refusal(Reason.POLICY, "policy line limits.attempts: too many"))
ANSWERED = messages.reply(messages.contribution(bytes(32), np.zeros(2, np.uint64)))
DAY = 24 * 3600.0


# --- its memory ---


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_opening_of_a_plan_fits_and_the_next_larger_plan_does_not(name):
    plan = toy_plan(strategy=StrategySettings(name=name))
    contract = Contract(plan, bytes(32), ToyMetrics(), load_strategy(plan.strategy))
    largest = largest_request(contract, LAYOUT) - ROOM
    for number in (1, 2, 3):
        context = round_context(plan, contract.strategy, LAYOUT, number, 3)
        sent = contract.strategy.broadcast(context)
        tensors = pack({spec.name: np.zeros(spec.shape, np.float32) for spec in sent})
        assert len(messages.request(Open(b"", tensors, context.layout.trained))) <= largest
    assert largest < 4096 + 12 * LAYOUT.parameters


def test_a_longer_request_ends_its_connection_before_anything_is_held(tmp_path):
    said = []

    async def ask(size):
        place = SocketPlace(tmp_path / "agent.sock")
        log = lambda event, **fields: said.append((event, fields.get("failure")))  # noqa: E731
        serving = asyncio.create_task(Agent("ams", lambda _: ANSWERED, log, largest=1000).run(place))
        await asyncio.sleep(0)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(place.path))
        pipe = Pipe(connection)
        await pipe.read()
        await pipe.write(Welcome(VERSIONS[0], bytes(32)).serialise())
        await pipe.write(Part(bytes(16), size, 0, b"x").serialise())
        answered = await pipe.read()
        pipe.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return answered

    assert asyncio.run(ask(1001)) is None
    assert said[-1] == ("link_failed", "malformed")


# --- its log ---


class Clock:
    """Stands still unless it is told to go on."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_coordinator_that_is_refused_round_for_round_never_waits():
    clock = Clock()
    pace = RefusalPace(clock)
    for _ in range(2000):
        assert [pace.seconds(reply) for reply in (REFUSED, REFUSED, REFUSED, ANSWERED)] == [0.0] * 4
        clock.now += 3 * SECONDS


def test_other_answers_and_bytes_that_are_none_are_never_held():
    pace = RefusalPace(Clock())
    for reply in (ANSWERED, b"", b"no reply", bytes(10_000)):
        assert {pace.seconds(reply) for _ in range(2 * BURST)} == {0.0}


@pytest.mark.parametrize("between", [(), (ANSWERED,)], ids=["refusals alone", "with good answers"])
def test_refusals_of_a_day_are_few_however_fast_they_are_asked_for(between):
    clock, count = Clock(), 0
    pace = RefusalPace(clock)
    while clock.now < DAY:
        clock.now += pace.seconds(REFUSED) + sum(map(pace.seconds, between))
        count += 1
    assert count <= BURST + DAY / SECONDS + 1


def test_an_agent_holds_what_is_refused_too_often(monkeypatch):
    requests, held, answered = iter(range(5)), [], []

    def handle(_):
        if next(requests) == 4:
            raise KeyboardInterrupt
        return REFUSED

    monkeypatch.setattr(refusal_pace, "BURST", 2)
    monkeypatch.setattr(module.time, "sleep", held.append)
    agent = Agent("ams", handle, lambda *_, **__: None)
    for number in range(5):
        agent._requests.put(bytes([number]))
    with pytest.raises(KeyboardInterrupt):
        agent._work(SimpleNamespace(call_soon_threadsafe=lambda _, reply: answered.append(reply)))
    assert answered == [REFUSED] * 4
    assert held == [pytest.approx(SECONDS, abs=1), pytest.approx(2 * SECONDS, abs=1)]

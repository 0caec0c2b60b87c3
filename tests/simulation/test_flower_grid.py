"""Asking nodes over a grid: one request for each at a time, and no one waits for ever."""

import threading
from itertools import count

import pytest

pytest.importorskip("flwr")

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from sealora.protocol.errors import RunError
from sealora.simulation.flower_grid import GridDesk, reply_limit
from sealora.simulation.toy import toy_plan

LIMIT = 60.0


@pytest.fixture(autouse=True)
def _within_a_run():
    """Messages of Flower belong to a run."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


class Grid:
    """Nodes that answer a question with its double, once `looks` have been taken."""

    def __init__(self, nodes=3, looks=2):
        self.nodes, self.looks, self.numbers = nodes, looks, count()
        self.sent, self.busy, self.most = {}, set(), 0
        self.lock = threading.Lock()

    def get_node_ids(self):
        return range(1, self.nodes + 1)

    def push_messages(self, messages):
        with self.lock:
            (message,) = messages
            node = message.metadata.dst_node_id
            assert node not in self.busy, "two requests at one node"
            self.busy.add(node)
            self.most = max(self.most, len(self.busy))
            name = str(next(self.numbers))
            self.sent[name] = [node, message, self.looks]
            return [name]

    def pull_messages(self, names):
        with self.lock:
            (name,) = names
            self.sent[name][2] -= 1
            if self.sent[name][2] >= 0:
                return []
            node, message, _ = self.sent.pop(name)
            self.busy.remove(node)
            return [self.reply(message)]

    def reply(self, message):
        value = message.content["question"]["value"]
        message.metadata.__dict__["_message_id"] = "sent"
        if value < 0:
            return Message(Error(0, "its actor\ndied"), reply_to=message)
        return Message(RecordDict({"answer": ConfigRecord({"value": 2 * value})}), reply_to=message)


def question(value):
    return RecordDict({"question": ConfigRecord({"value": value})})


def test_many_ask_and_each_gets_its_answer():
    grid, answers = Grid(), {}
    desk = GridDesk(grid, LIMIT)
    assert desk.nodes == 3

    def ask(value):
        answers[value] = desk.ask(question(value))["answer"]["value"]

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {value: 2 * value for value in range(9)}
    assert grid.most == 3


def test_an_actor_that_is_lost_for_good_is_one_line_and_its_node_is_free_again():
    desk = GridDesk(Grid(nodes=1), LIMIT)
    with pytest.raises(RunError, match=r"^an actor failed: its actor died\.$"):
        desk.ask(question(-1))
    assert desk.ask(question(1))["answer"]["value"] == 2


def test_who_waits_when_all_is_stopped_fails():
    desk, failed = GridDesk(Grid(nodes=1, looks=10**9), LIMIT), []

    def ask():
        with pytest.raises(RunError, match="was stopped"):
            desk.ask(question(1))
        failed.append(True)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    desk.stop()
    for thread in threads:
        thread.join(10)
    assert failed == [True] * 3


def test_an_engine_that_ends_leaves_nobody_waiting():
    alive = iter([True] * 4)
    desk = GridDesk(Grid(looks=10**9), LIMIT, lambda: next(alive, False))
    with pytest.raises(RunError, match="simulation engine has ended") as ended:
        desk.ask(question(1))
    assert "resume" in ended.value.remedy
    with pytest.raises(RunError, match="has ended"):
        GridDesk(Grid(nodes=0), LIMIT, lambda: False)


def test_a_lost_reply_ends_the_wait_and_frees_the_node():
    grid = Grid(nodes=1, looks=10**9)
    desk = GridDesk(grid, 0.0)
    with pytest.raises(RunError, match="has not answered for 0 seconds: its reply is lost") as lost:
        desk.ask(question(1))
    assert "rounds.deadline" in lost.value.remedy
    grid.busy.clear()
    grid.looks = 0
    assert desk.ask(question(1))["answer"]["value"] == 2


def test_the_limit_is_the_plans_and_an_hour_at_least():
    assert reply_limit(toy_plan(rounds={"deadline": 7200.0}), 4) == 4 * 7200
    assert reply_limit(toy_plan(rounds={"deadline": 5.0}), 4) == 4 * 3600

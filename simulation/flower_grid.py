"""Asks simulated Flower nodes for work, from several threads at once."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from sealora.plan.settings import PlanSettings
from sealora.protocol.errors import RunError

POLL = 0.02
"""Seconds between two looks for a reply."""
PATIENCE = 600.0
"""Seconds until the nodes must have registered."""
LEAST_LIMIT = 3600.0
"""Seconds that work may take on any machine, however short a plan's deadline is in virtual time."""


def reply_limit(plan: PlanSettings, lanes: int = 1) -> float:
    """Seconds after which a reply is taken for lost, from an actor that works for so many nodes in turn."""
    return lanes * max(LEAST_LIMIT, plan.rounds.deadline)


class GridDesk:
    """One request at a time for each node; who asks when all are busy waits.

    `limit` is in seconds, for one reply; `alive` tells whether the engine behind the grid is still running.
    """

    def __init__(self, grid: Grid, limit: float, alive: Callable[[], bool] = lambda: True) -> None:
        """Waits for the nodes. Raises RunError if the engine ends before they are there."""
        self._grid = grid
        self._limit = limit
        self._alive = alive
        self._stopped = threading.Event()
        self._idle: SimpleQueue[int] = SimpleQueue()
        nodes = self._registered()
        self.nodes = len(nodes)
        for node in nodes:
            self._idle.put(node)

    def ask(self, content: RecordDict) -> RecordDict:
        """The content of the reply. Raises RunError if there is none in time, or the desk was stopped."""
        node = self._idle.get()
        try:
            self._require_running()
            [sent] = self._grid.push_messages([Message(content, node, MessageType.QUERY)])
            reply = self._await(sent)
        finally:
            self._idle.put(node)
        if reply.has_error():
            reason = " ".join((reply.error.reason or "it does not say why").split())[:200]
            raise RunError(f"an actor failed: {reason}.")
        return reply.content

    def stop(self) -> None:
        """Make all who wait, and all who will ask, fail soon."""
        self._stopped.set()

    def _await(self, sent: str) -> Message:
        end = time.monotonic() + self._limit
        while True:
            for reply in self._grid.pull_messages([sent]):
                return reply
            if time.monotonic() > end:
                raise RunError(
                    f"an actor has not answered for {self._limit:,.0f} seconds: its reply is lost.",
                    "Finished rounds are kept: resume. If work takes longer, raise rounds.deadline.",
                )
            self._pause()

    def _registered(self) -> list[int]:
        """All nodes: they register together, before the first can be seen."""
        for _ in range(int(PATIENCE / POLL)):
            if nodes := sorted(self._grid.get_node_ids()):
                self._pause()
                if nodes == sorted(self._grid.get_node_ids()):
                    return nodes
            self._pause()
        raise RunError("no Flower node has registered.")

    def _pause(self) -> None:
        self._stopped.wait(POLL)
        self._require_running()

    def _require_running(self) -> None:
        if self._stopped.is_set():
            raise RunError("the simulation was stopped.")
        if not self._alive():
            raise RunError("Flower's simulation engine has ended.", "Finished rounds are kept: resume.")

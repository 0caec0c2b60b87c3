"""Asks simulated Flower nodes for work, from several threads at once."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from sealora.protocol.errors import RunError

POLL = 0.02
"""Seconds between two looks for a reply."""
PATIENCE = 600.0
"""Seconds until the nodes must have registered."""


class GridDesk:
    """One request at a time for each node; who asks when all are busy waits.

    `alive` tells whether the engine behind the grid is still running.
    """

    def __init__(self, grid: Grid, alive: Callable[[], bool] = lambda: True) -> None:
        """Waits for the nodes. Raises RunError if the engine ends before they are there."""
        self._grid = grid
        self._alive = alive
        self._stopped = threading.Event()
        self._idle: SimpleQueue[int] = SimpleQueue()
        nodes = self._registered()
        self.nodes = len(nodes)
        for node in nodes:
            self._idle.put(node)

    def ask(self, content: RecordDict) -> RecordDict:
        """The content of the reply. Raises RunError if there is none, or the desk was stopped."""
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
        while True:
            for reply in self._grid.pull_messages([sent]):
                return reply
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

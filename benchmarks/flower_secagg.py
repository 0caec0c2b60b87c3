"""One round of Flower's SecAgg+ in this process: its own workflow and its own client mod, unchanged.

Only what lies between them is ours: a grid that carries each message to the mod of its site and its
reply back, once each way, in the form in which Flower's own grid and SuperNode send them: objects named by
their hashes. Nothing travels, waits, or goes through the SuperLink and the SuperNode's own store, where it
would be copied and hashed again, and the strategy does not average; all of this favours Flower.
"""

import logging
import os
import time
from collections.abc import Iterable
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, parameters_to_arrayrecord
from flwr.server import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0
logging.getLogger("flwr").setLevel(logging.ERROR)

EXAMPLES = 100
"""Rows of each site: the weight of its update."""


class FirstResult(FedAvg):
    """Takes the aggregate as it comes: every result carries it after the workflow has unmasked it."""

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        return results[0][1].parameters, {}


Contents = dict[str, bytes]


class MemoryGrid:
    """The part of Flower's Grid that the workflow uses: every message goes through a site's mod.

    `site_seconds` are each site's by the clock, its part of the carrying included.
    """

    def __init__(self, updates: dict[int, NDArray[np.float32]]) -> None:
        self._updates = updates
        self._contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in updates}
        self.site_seconds = dict.fromkeys(updates, 0.0)
        self.bytes_up = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [unpack(*self._answer(message, *pack(message))) for message in messages]

    def _answer(self, message: Message, name: str, contents: Contents) -> tuple[str, Contents]:
        """A site's work: take the request out, answer it, and make the reply ready to be sent."""
        started, node = time.perf_counter(), message.metadata.dst_node_id
        reply = pack(secaggplus_mod(unpack(name, contents), self._contexts[node], self._fit))
        self.site_seconds[node] += time.perf_counter() - started
        self.bytes_up += sum(map(len, reply[1].values()))
        return reply

    def _fit(self, message: Message, context: Context) -> Message:
        parameters = ndarrays_to_parameters([self._updates[context.node_id]])
        result = FitRes(Status(Code.OK, ""), parameters, EXAMPLES, {})
        return Message(fitres_to_recorddict(result, keep_input=True), reply_to=message)


def pack(message: Message) -> tuple[str, Contents]:
    """What a sender does (`HttpGrid._try_push_messages`): name every object by its hash, and serialise it."""
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        return message.object_id, {name: part.deflate() for name, part in objects.items()}


def unpack(name: str, contents: Contents) -> Message:
    """What a receiver does (`HttpGrid.pull_messages`)."""
    message: Any = inflate_object_from_contents(name, contents)
    message.metadata.__dict__["_message_id"] = name
    return message


class Round:
    """Sites and server of one round, made before the clock starts."""

    def __init__(self, updates: list[NDArray[np.float32]], threshold: int, bound: float) -> None:
        nodes = dict(enumerate(updates, start=1))
        self._grid = MemoryGrid(nodes)
        manager = SimpleClientManager()
        for node in nodes:
            manager.register(GridClientProxy(node, self._grid, 1))  # type: ignore[arg-type]
        strategy = FirstResult(fraction_fit=1.0, min_fit_clients=len(nodes), min_available_clients=len(nodes))
        self._context = LegacyContext(
            Context(1, 0, {}, RecordDict(), {}), strategy=strategy, client_manager=manager
        )
        model = parameters_to_arrayrecord(ndarrays_to_parameters([np.zeros(1, np.float32)]), True)
        self._context.state.array_records[MAIN_PARAMS_RECORD] = model
        self._context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
        self._workflow = SecAggPlusWorkflow(1.0, threshold, clipping_range=bound)

    @property
    def bytes_up(self) -> int:
        """Bytes of all sites' replies."""
        return self._grid.bytes_up

    @property
    def site_seconds(self) -> list[float]:
        """Seconds of each site."""
        return list(self._grid.site_seconds.values())

    def run(self) -> NDArray[np.float32]:
        """The mean update, shape (d,). Raises RuntimeError if the workflow came to no result."""
        self._workflow(self._grid, self._context)  # type: ignore[arg-type]
        record = self._context.state.array_records[MAIN_PARAMS_RECORD]
        (mean,) = [array.numpy() for array in record.values()]
        if mean.shape != next(iter(self._grid._updates.values())).shape:
            raise RuntimeError("Flower's round yielded no sum")
        return mean

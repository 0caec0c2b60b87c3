"""One round of Flower's SecAgg+ in this process: its own workflow and its own client mod, unchanged.

Only what lies between them is ours: a grid that hands each message to the mod of its site as an
object. Nothing is serialised or sent while the clock runs, and the strategy does not average, so
the time is that of the protocol alone, which favours Flower; bytes are counted in a round of its own.
"""

import logging
import os
from collections.abc import Iterable
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.common.serde import message_to_proto
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, parameters_to_arrayrecord
from flwr.server import SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
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


class MemoryGrid:
    """The part of Flower's Grid that the workflow uses: every message goes through a site's mod."""

    def __init__(self, updates: dict[int, NDArray[np.float32]], count_bytes: bool) -> None:
        self._updates = updates
        self._contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in updates}
        self._count_bytes = count_bytes
        self.bytes_up = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        replies = [self._answer(message) for message in messages]
        if self._count_bytes:
            self.bytes_up += sum(len(message_to_proto(reply).SerializeToString()) for reply in replies)
        return replies

    def _answer(self, message: Message) -> Message:
        # The mod takes its settings out of the message, and the workflow sends one object to all.
        records = {
            name: ConfigRecord(dict(record)) for name, record in message.content.config_records.items()
        }
        message.content = RecordDict({**message.content.array_records, **records})
        return secaggplus_mod(message, self._contexts[message.metadata.dst_node_id], self._fit)

    def _fit(self, message: Message, context: Context) -> Message:
        parameters = ndarrays_to_parameters([self._updates[context.node_id]])
        result = FitRes(Status(Code.OK, ""), parameters, EXAMPLES, {})
        return Message(fitres_to_recorddict(result, keep_input=True), reply_to=message)


class Round:
    """Sites and server of one round, made before the clock starts."""

    def __init__(
        self, updates: list[NDArray[np.float32]], threshold: int, bound: float, count_bytes: bool = False
    ) -> None:
        nodes = dict(enumerate(updates, start=1))
        self._grid = MemoryGrid(nodes, count_bytes)
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
        """Bytes of all sites' replies as protobuf; 0 unless they were to be counted."""
        return self._grid.bytes_up

    def run(self) -> NDArray[np.float32]:
        """The mean update, shape (d,). Raises RuntimeError if the workflow came to no result."""
        self._workflow(self._grid, self._context)  # type: ignore[arg-type]
        record = self._context.state.array_records[MAIN_PARAMS_RECORD]
        (mean,) = [array.numpy() for array in record.values()]
        if mean.shape != next(iter(self._grid._updates.values())).shape:
            raise RuntimeError("Flower's round yielded no sum")
        return mean

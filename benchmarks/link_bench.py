"""The processes of a part of link.py, and what it asks them."""

from sealora.protocol import transport

# isort: split
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil
from link_federation import Parties
from link_peer import HEAD_BYTES, sink_path
from link_raw import Server

from sealora.plan.logs import Log
from sealora.server.authority import Gate
from sealora.server.grpc_fleet import FleetSettings, GrpcFleet

Result = TypeVar("Result")
HERE = Path(__file__).parent
PATIENCE = 300.0
OPENING = b"\x0a"
"""With which a request begins that may take long."""
SMALL_BYTES = 1000
transport.require_tls13()


@dataclass(frozen=True)
class Sizes:
    """The workload."""

    pairs: int
    messages: int
    bulk: int
    sites: int
    weights: int
    rounds: int


class Bench:
    """The processes of one part; all end with it."""

    def __init__(self, sites: int) -> None:
        self._sites = sites
        self._stack = ExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sealora-link-")))
        self.log = self._stack.enter_context((root / "log").open("wb"))
        self.parties = Parties.make(root, self._sites)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.server = self.call(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.server.close())
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self._stack.close()

    @property
    def credentials(self) -> Any:
        return self.parties.federation.credentials(None, datetime.now(UTC))

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def start(self, role: str, name: str, *rest: object) -> None:
        command = [sys.executable, HERE / "link_peer.py", role, self.parties.root, name, *rest]
        self.processes[f"{role} {name}"] = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stderr=self.log
        )

    def cpu(self) -> float:
        """Seconds that all processes have computed so far, this one included."""
        pids = [None, *(process.pid for process in self.processes.values())]
        times = [psutil.Process(pid).cpu_times() for pid in pids]
        return sum(one.user + one.system for one in times)

    def timed(self, work: Callable[[], object]) -> tuple[float, float]:
        """Seconds by the clock, and of all processes' computing."""
        before = self.cpu()
        taken = seconds_of(work)
        return taken, self.cpu() - before

    def start_raw(self) -> None:
        for name in self.parties.names:
            self.start("raw", name, f"127.0.0.1:{self.port}")
        self.call(self.server.wait_for(self._sites))

    def start_floor(self) -> None:
        """Raw gRPC whose clients are two processes each, and whose messages have a hash."""
        for name in self.parties.names:
            self.start("sink", name)
            while not sink_path(self.parties.site(name)).exists():
                assert self.processes[f"sink {name}"].poll() is None, "it has ended"
                time.sleep(0.01)
            self.start("relay", name, f"127.0.0.1:{self.port}")
        self.call(self.server.wait_for(2 * self._sites))

    def fleet(self) -> GrpcFleet:
        """The coordinator's, in this process, over which echoing agents are asked."""
        gate = Gate(self.parties.federation)
        fleet = GrpcFleet(
            lambda: self.parties.names,
            bytes(32),
            self.credentials,
            lambda certificate: gate.admit(certificate, datetime.now(UTC)),
            FleetSettings(),
            Log("coordinator", self._stack.enter_context((self.parties.root / "own").open("w"))),
        )
        self._stack.enter_context(fleet)
        for name in self.parties.names:
            self.start("echo", name)
            self.start("link", name, f"127.0.0.1:{fleet.port}")
        return fleet

    async def _serve(self) -> Server:
        server = Server()
        self.port = await server.open(self.credentials, self._sites)
        return server


def request(size: int, reply: int) -> bytes:
    """A message of so many bytes that asks for so many."""
    head = OPENING + reply.to_bytes(HEAD_BYTES - 1, "big")
    return head + b"\x01" * (size - len(head))


def ask(fleet: GrpcFleet, name: str, message: bytes, reply: int) -> None:
    ((_, answer),) = fleet.exchange({name: message}, PATIENCE)
    assert len(answer) == reply


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def seconds_of(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

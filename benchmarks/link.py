"""What the link between sites and coordinator costs beside raw gRPC that moves the same bytes.

    python benchmarks/link.py [--quick] [--only PART ...]

Ours is a coordinator, and for each site an agent and a link in processes of their own, with mutual TLS, a
Unix socket between the halves, credit, hashes, and copies that survive a reconnect. Raw gRPC
(`link_raw.py`) is one stream for each client over the same mutual TLS, in parts of the same size. Everybody
is on this machine, and the two take turns.

`small` is a request and a reply of a kilobyte; `bulk` is 100 MB down with a short reply, and 100 MB up;
`round` is a whole secure round of 10 sites with a million weights each, whose training is an addition: all
files and logs are kept and synced as in a real run, while raw gRPC moves messages of the same sizes and
does nothing with them.
"""

from sealora.protocol import transport

# isort: split
import asyncio
import statistics
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
from link_federation import Parties, adapter_of, contract_of, plan_of
from link_memory import Watch
from link_peer import HEAD_BYTES
from link_raw import Server
from pairs import Spread, interleave, ratios, table
from parts import run_parts

from sealora.plan.logs import Log
from sealora.privacy.audit_log import read_records
from sealora.server.authority import Gate
from sealora.server.events import Event, RoundDone
from sealora.server.grpc_fleet import FleetSettings, GrpcFleet
from sealora.server.service import Keys, RunParts, Service
from sealora.server.state_lock import StateLock

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


FULL = Sizes(pairs=7, messages=300, bulk=100_000_000, sites=10, weights=1_000_000, rounds=7)
QUICK = Sizes(pairs=2, messages=50, bulk=20_000_000, sites=4, weights=100_000, rounds=2)


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


# --- small messages ---


def small(sizes: Sizes) -> dict[str, float]:
    """Round trips of a kilobyte each way, one after the other."""
    message = request(SMALL_BYTES, SMALL_BYTES)
    with Bench(1) as bench:
        fleet, (name,) = bench.fleet(), bench.parties.names
        bench.start_raw()

        def ours(_: int) -> list[float]:
            return [seconds_of(lambda: ask(fleet, name, message, SMALL_BYTES)) for _ in range(sizes.messages)]

        async def theirs() -> list[float]:
            found = []
            for _ in range(sizes.messages):
                started = time.perf_counter()
                await bench.server.ask(name, message, SMALL_BYTES)
                found.append(time.perf_counter() - started)
            return found

        ours(0), bench.call(theirs())
        found = interleave({"ours": ours, "raw": lambda _: bench.call(theirs())}, sizes.pairs)
    rows, figures = [], {}
    for share in (0.5, 0.99):
        times = {who: [percentile(one, share) for one in blocks] for who, blocks in found.items()}
        over = Spread.of(ratios(times["ours"], times["raw"]))
        rows.append((f"p{100 * share:.0f}", *milliseconds(times), over.text(2)))
        figures[f"small_message_p{100 * share:.0f}_ms"] = 1000 * statistics.median(times["ours"])
        figures["small_message_over_raw" + ("" if share == 0.5 else "_p99")] = over.median
    print(table((f"{SMALL_BYTES} bytes each way", "ours ms", "raw ms", "over raw"), rows), flush=True)
    return figures


def milliseconds(times: dict[str, list[float]]) -> list[str]:
    return [Spread.of([1000 * one for one in times[who]]).text(3) for who in ("ours", "raw")]


def seconds_of(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# --- large messages ---


def bulk(sizes: Sizes) -> dict[str, float]:
    """One large message down, one up; how long each takes, and the most that a process holds of it."""
    rows, figures, copies = [], {}, {}
    for direction, down, up in (("down", sizes.bulk, 1), ("up", SMALL_BYTES, sizes.bulk)):
        copies |= {f"{who}, {direction}": held / sizes.bulk for who, held in held_by(down, up).items()}
        pairs = transfers(down, up, sizes.pairs)
        found = {who: [taken for taken, _ in times] for who, times in pairs.items()}
        cpu = {who: [computed for _, computed in times] for who, times in pairs.items()}
        figures[f"bulk_{direction}_cpu_over_raw"] = Spread.of(ratios(cpu["ours"], cpu["raw"])).median
        over = Spread.of(ratios(found["ours"], found["raw"]))
        speed = {who: [sizes.bulk / 1e6 / one for one in times] for who, times in found.items()}
        rows.append((direction, *(Spread.of(speed[who]).text(0) for who in ("ours", "raw")), over.text(2)))
        figures[f"bulk_{direction}_megabytes_per_second"] = statistics.median(speed["ours"])
        figures[f"bulk_{direction}_over_raw"] = over.median
        figures[f"bulk_{direction}_p50_s"] = percentile(found["ours"], 0.5)
        figures[f"bulk_{direction}_p99_s"] = percentile(found["ours"], 0.99)
    print(table((f"{sizes.bulk / 1e6:.0f} MB", "ours MB/s", "raw MB/s", "over raw"), rows))
    print(
        table(("copies held", "at most"), [(who, f"{most:.2f}") for who, most in copies.items()]), flush=True
    )
    figures["bulk_over_raw"] = max(figures["bulk_down_over_raw"], figures["bulk_up_over_raw"])
    return {**figures, "bulk_copies": max(copies.values())}


def transfers(down: int, up: int, pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of an exchange by the clock, and of all processes' computing, over both in turns."""
    message = request(down, up)
    with Bench(1) as bench:
        fleet, (name,) = bench.fleet(), bench.parties.names
        bench.start_raw()

        def ours(_: int) -> tuple[float, float]:
            return bench.timed(lambda: ask(fleet, name, message, up))

        def raw(_: int) -> tuple[float, float]:
            return bench.timed(lambda: bench.call(bench.server.ask(name, message, up)))

        ours(0), raw(0)
        return interleave({"ours": ours, "raw": raw}, pairs)


def held_by(down: int, up: int) -> dict[str, int]:
    """Bytes by which each process grows over two exchanges, the message itself included."""
    with Bench(1) as bench:
        fleet, (name,) = bench.fleet(), bench.parties.names
        ask(fleet, name, request(SMALL_BYTES, 1), 1)
        pids = {
            who: bench.processes[f"{role} {name}"].pid for who, role in (("link", "link"), ("agent", "echo"))
        }
        watches = {who: Watch(pid) for who, pid in {"coordinator": None, **pids}.items()}
        message = request(down, up)
        for _ in range(2):
            ask(fleet, name, message, up)
        return {who: watch.growth() for who, watch in watches.items()}


# --- a whole round ---


class Turns:
    """An observer that moves the bytes of a round over raw gRPC after each round of ours."""

    def __init__(self, bench: Bench, skip: int) -> None:
        self._bench = bench
        self._skip = skip
        self.ours: list[float] = []
        self.raw: list[float] = []
        self.cpu: list[float] = []
        """Computing of ours over that of raw gRPC."""
        self._since, self._cpu = time.perf_counter(), 0.0

    def notify(self, event: Event) -> None:
        if not isinstance(event, RoundDone):
            return
        ours, cpu = time.perf_counter() - self._since, self._bench.cpu() - self._cpu
        sizes = sizes_of(self._bench.parties, event.record.round)
        raw, raw_cpu = self._bench.timed(lambda: self._bench.call(self._bench.server.round(sizes)))
        if event.record.round > self._skip:
            self.ours.append(ours)
            self.raw.append(raw)
            self.cpu.append(cpu / raw_cpu)
        self._since, self._cpu = time.perf_counter(), self._bench.cpu()


def sizes_of(parties: Parties, number: int) -> dict[str, list[tuple[int, int]]]:
    """What each site received and sent in each phase of a round, from its own log."""
    found = {}
    for name in parties.names:
        records = read_records(parties.site(name).audit_path)
        opened = [at for at, one in enumerate(records) if one.detail.get("round") == number][-1]
        travelled = [one.size for one in records[opened:]]
        found[name] = list(zip(travelled[::2], travelled[1::2], strict=True))
    return found


def round_(sizes: Sizes) -> dict[str, float]:
    """Secure rounds, each beside the same bytes over raw gRPC."""
    rounds = sizes.rounds + 1  # the first one waits for the sites to come
    plan, adapter = plan_of(rounds), adapter_of(sizes.weights)
    contract = contract_of(plan)
    with Bench(sizes.sites) as bench:
        bench.start_raw()
        turns, federation = Turns(bench, skip=1), bench.parties.federation
        folder = bench.parties.root / "run"
        with (bench.parties.root / "own").open("w") as log, StateLock(folder):

            def logged(event: str, **fields: object) -> None:
                Log("coordinator", log)(event, **fields)
                if event == "listening":
                    for name in bench.parties.names:
                        bench.start("site", name, sizes.weights, rounds)
                        bench.start("link", name, f"127.0.0.1:{fields['port']}")

            Service(
                RunParts(plan, contract.plan_hash, contract.task, contract.strategy, adapter),
                federation,
                Keys(federation.identity(None), bench.credentials),
                folder,
                FleetSettings(),
                logged,  # type: ignore[arg-type]
            ).run([turns])
    over = Spread.of(ratios(turns.ours, turns.raw))
    row = (*(Spread.of(times).text(3) for times in (turns.ours, turns.raw)), over.text(2))
    title = f"secure round, {sizes.sites} sites, {sizes.weights:,} weights"
    print(table((title, "ours s", "raw s", "over raw"), [("", *row)]), flush=True)
    return {
        "secure_round_seconds": statistics.median(turns.ours),
        "secure_round_over_raw": over.median,
        "secure_round_cpu_over_raw": statistics.median(turns.cpu),
    }


PARTS = {"small": small, "bulk": bulk, "round": round_}


if __name__ == "__main__":
    run_parts("link", "The cost of the link beside raw gRPC.", PARTS, FULL, QUICK)

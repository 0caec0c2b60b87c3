"""A part of link.py: whole secure rounds of trivial training."""

import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from link_bench import Bench, Sizes
from link_federation import Parties, adapter_of, contract_of, plan_of, site_of
from link_raw import RELAYED
from pairs import Spread, ratios, table

from sealora.plan.logs import Log
from sealora.privacy.audit_log import read_records
from sealora.server.events import Event, RoundDone
from sealora.server.grpc_fleet import FleetSettings
from sealora.server.loop import Coordinator
from sealora.server.roster_book import RosterBook
from sealora.server.service import Keys, RunParts, Service
from sealora.server.sessions import SecureSessions
from sealora.server.state_lock import StateLock
from sealora.server.store import CheckpointStore
from sealora.simulation.fleet import InProcessFleet

CORES = os.cpu_count() or 1


class Turns:
    """An observer that moves the bytes of a round over raw gRPC after each round of ours."""

    def __init__(self, bench: Bench, skip: int) -> None:
        self._bench = bench
        self._skip = skip
        self.ours: list[float] = []
        self.raw: list[float] = []
        self.floor: list[float] = []
        """The same bytes, by way of a second process and with a hash."""
        self.cpu: list[float] = []
        """Computing of ours over that of raw gRPC."""
        self._since, self._cpu = time.perf_counter(), 0.0

    def notify(self, event: Event) -> None:
        if not isinstance(event, RoundDone):
            return
        ours, cpu = time.perf_counter() - self._since, self._bench.cpu() - self._cpu
        sizes = sizes_of(self._bench.parties, event.record.round)
        bench, relayed = self._bench, {name + RELAYED: phases for name, phases in sizes.items()}
        raw, raw_cpu = bench.timed(lambda: bench.call(bench.server.round(sizes)))
        floor, _ = bench.timed(lambda: bench.call(bench.server.round(relayed)))
        if event.record.round > self._skip:
            self.ours.append(ours)
            self.raw.append(raw)
            self.floor.append(floor)
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


class Alone:
    """An observer that notes how long rounds compute."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._since = time.process_time()

    def notify(self, event: Event) -> None:
        if isinstance(event, RoundDone):
            now = time.process_time()
            self.seconds.append(now - self._since)
            self._since = now


def computed(sizes: Sizes) -> list[float]:
    """CPU seconds of rounds whose parties are all in this process: the same work, and nothing travels."""
    plan, adapter, clock = plan_of(sizes.rounds), adapter_of(sizes.weights), Alone()
    contract = contract_of(plan)
    with tempfile.TemporaryDirectory(prefix="sealora-link-") as name, ExitStack() as stack:
        parties = Parties.make(Path(name), sizes.sites)
        sites = {
            name: site_of(parties.site(name), sizes.weights, sizes.rounds, stack) for name in parties.names
        }
        federation = parties.federation
        Coordinator(
            plan=plan,
            plan_hash=contract.plan_hash,
            task=contract.task,
            strategy=contract.strategy,
            initial=adapter,
            fleet=InProcessFleet(sites),
            store=CheckpointStore(parties.root / "state"),
            sessions=SecureSessions(
                federation.identity(None), RosterBook(federation).current, plan.secure_aggregation
            ),
            observers=(clock,),
        ).run()
    return clock.seconds[1:]  # in the first one much is worked out for all


def round_(sizes: Sizes) -> dict[str, float]:
    """Secure rounds, each beside the same bytes over raw gRPC."""
    alone = statistics.median(computed(sizes))
    rounds = sizes.rounds + 1  # the first one waits for the sites to come
    plan, adapter = plan_of(rounds), adapter_of(sizes.weights)
    contract = contract_of(plan)
    with Bench(sizes.sites) as bench:
        bench.start_raw()
        bench.start_floor()
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
    raw = statistics.median(turns.raw)
    moved = statistics.median(turns.floor)
    floor = (moved + alone / CORES) / raw
    row = (*(Spread.of(times).text(3) for times in (turns.ours, turns.raw)), over.text(2), f"{floor:.2f}")
    title = f"secure round, {sizes.sites} sites, {sizes.weights:,} weights"
    print(table((title, "ours s", "raw s", "over raw", "floor over raw"), [("", *row)]))
    print(f"All parties compute {alone:.3f} s of a round where nothing travels; moving takes {moved:.3f} s.")
    return {
        "secure_round_seconds": statistics.median(turns.ours),
        "secure_round_over_raw": over.median,
        "secure_round_cpu_over_raw": statistics.median(turns.cpu),
        "secure_round_computed_seconds": alone,
        "secure_round_moved_seconds": moved,
        "secure_round_floor_over_raw": floor,
    }

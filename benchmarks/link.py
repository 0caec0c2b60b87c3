"""What the link between sites and coordinator costs beside raw gRPC that moves the same bytes.

    python benchmarks/link.py [--quick] [--only PART ...]

Ours is a coordinator, and for each site an agent and a link in processes of their own, with mutual TLS, a
Unix socket between the halves, credit, hashes, and copies that survive a reconnect. Raw gRPC
(`link_raw.py`) is one stream for each client over the same mutual TLS, in parts of the same size. Everybody
is on this machine, and they take turns.

`small` is a request and a reply of a kilobyte; `bulk` is 100 MB down with a short reply, and 100 MB up, and
has a third contestant, the *floor*: raw gRPC with hashes and a second process (`link_floor.py`);
`round` is a whole secure round of 10 sites with a million weights each, whose training is an addition: all
files and logs are kept and synced as in a real run, while raw gRPC moves messages of the same sizes and
does nothing with them. Its floor is the time of those bytes by way of the other floor, and what all parties
compute where nothing travels, shared out over the cores.
"""

from link_bench import SMALL_BYTES, Bench, Sizes, ask, percentile, request, seconds_of

# isort: split
import statistics
import time

from link_bulk import bulk
from link_round import round_
from pairs import Spread, interleave, ratios, table
from parts import run_parts

from sealora.plan.allocator import keep_freed_memory

FULL = Sizes(pairs=7, messages=300, bulk=100_000_000, sites=10, weights=1_000_000, rounds=7)
QUICK = Sizes(pairs=2, messages=50, bulk=20_000_000, sites=4, weights=100_000, rounds=2)


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


PARTS = {"small": small, "bulk": bulk, "round": round_}


if __name__ == "__main__":
    keep_freed_memory()  # as `sealora server run` does; raw gRPC's server is in this process, too
    run_parts("link", "The cost of the link beside raw gRPC.", PARTS, FULL, QUICK)

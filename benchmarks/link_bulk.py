"""A part of link.py: one large message down, one up, and the most that a process holds of it."""

import statistics

from link_bench import SMALL_BYTES, Bench, Sizes, ask, percentile, request
from link_memory import Watch
from link_raw import RELAYED
from pairs import Spread, interleave, ratios, table


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
        floor = Spread.of(ratios(found["floor"], found["raw"]))
        near = Spread.of(ratios(found["ours"], found["floor"]))
        speeds = (Spread.of(speed[who]).text(0) for who in ("ours", "floor", "raw"))
        rows.append((direction, *speeds, over.text(2), floor.text(2), near.text(2)))
        figures[f"bulk_{direction}_floor_over_raw"] = floor.median
        figures[f"bulk_{direction}_over_floor"] = near.median
        figures[f"bulk_{direction}_megabytes_per_second"] = statistics.median(speed["ours"])
        figures[f"bulk_{direction}_over_raw"] = over.median
        figures[f"bulk_{direction}_p50_s"] = percentile(found["ours"], 0.5)
        figures[f"bulk_{direction}_p99_s"] = percentile(found["ours"], 0.99)
    heads = "ours MB/s", "floor MB/s", "raw MB/s", "over raw", "floor over raw", "over floor"
    print(table((f"{sizes.bulk / 1e6:.0f} MB", *heads), rows))
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
        bench.start_floor()

        def ours(_: int) -> tuple[float, float]:
            return bench.timed(lambda: ask(fleet, name, message, up))

        def raw(_: int) -> tuple[float, float]:
            return bench.timed(lambda: bench.call(bench.server.ask(name, message, up)))

        def floor(_: int) -> tuple[float, float]:
            return bench.timed(lambda: bench.call(bench.server.ask(name + RELAYED, message, up)))

        ours(0), raw(0), floor(0)
        return interleave({"ours": ours, "raw": raw, "floor": floor}, pairs)


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

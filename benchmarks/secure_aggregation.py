"""What secure aggregation costs: masking, unmasking, whole attempts, memory and traffic.

    python benchmarks/secure_aggregation.py [--quick] [--only PART ...]

All parties are in this process, with real keys, signatures and messages, on one thread; seconds are
CPU seconds, so that other work on the machine counts little (masking, and the comparison with Flower,
are timed by the clock). An attempt's seconds are the coordinator's plus those of one site (the median),
as sites work side by side on machines of their own; nothing travels. A tenth of the sites falls away
after dealing its shares, the costliest moment. Above `ALL_TIMED` sites only `SAMPLED` are timed, and
the others share what they know of signatures.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import numpy as np
from masking import WORD_BYTES, grid, keystream_limit, words_of
from masking import figures as masking_figures
from pairs import Spread, interleave, json_line, machine, ratios, table
from secure_federation import MASK, Federation, MemoryMeter, Stopwatch, seconds

from sealora.protocol import graph
from sealora.protocol.agreement import Agreement, commitment
from sealora.protocol.codec import Layout, Segment, Words
from sealora.protocol.keys import ExchangeKey
from sealora.protocol.keystream import Keystream, derive_key
from sealora.protocol.masks import apply_masks
from sealora.protocol.messages import Header, Work
from sealora.protocol.secure_messages import Member
from sealora.protocol.shamir import split
from sealora.protocol.thresholds import floor, smallest_n_min, threshold
from sealora.protocol.unmasking import Unmasking

DROPOUTS = (0.0, 0.1, 0.3)
NEIGHBOURS = (10, 50, 100)
ALL_TIMED, SAMPLED = 100, 10
FLOWER_SITES, FLOWER_COLLUDERS, FLOWER_THREADS = 8, 2, 2
RANGE = 8.0
"""Largest magnitude of a value: the default of Flower's workflow."""
WARM_UP = 2
"""Attempts in each engine before the first that counts."""
ANSWER = "seconds "
"""What an answer of Flower's engine begins with, among its other lines."""
TRAFFIC_SITES = 30
EXPANDED, ADDED = 5.2e9, 1.6e9
"""Of the cost formula, on one core: bytes of mask a second, weights added a second."""
FORMULA_BYTES = 4
"""Of the cost formula: bytes of a weight, as in rounds of more than 54 sites."""


@dataclass(frozen=True)
class Case:
    """A cohort. Above 200 sites `colluders` and `n_min` decide how many neighbours each site has."""

    sites: int
    weights: int
    colluders: int
    n_min: int
    name: str = ""

    @property
    def degree(self) -> int:
        """k of the graph that the halves will use."""
        shared = threshold(self.sites, self.colluders)
        return graph.shape(
            self.sites, self.colluders, shared, floor(self.sites, self.colluders, self.n_min)
        ).degree


def third(sites: int, weights: int) -> Case:
    """A third colludes, and no more sites are asked for than that needs."""
    return Case(sites, weights, sites // 3, smallest_n_min(sites // 3), str(sites))


def tenth(sites: int, weights: int) -> Case:
    """A tenth colludes and at most a tenth drops out: of 1000 sites each has 48 neighbours."""
    return Case(sites, weights, sites // 10, sites - sites // 10, str(sites))


def few_asked_for(sites: int, weights: int) -> Case:
    """The same colluders, but nearly half may drop out, for which the graph needs many more neighbours."""
    return Case(sites, weights, sites // 10, smallest_n_min(sites // 10), f"{sites}_least_n_min")


@dataclass(frozen=True)
class Sizes:
    """The workload. `memory` is a pair of sites and weights."""

    dimensions: tuple[int, ...]
    pairs: int
    attempts: tuple[Case, ...]
    flower_weights: int
    flower_pairs: int
    memory: tuple[int, int]


FULL = Sizes(
    dimensions=(10**6, 10**7),
    pairs=3,
    attempts=(third(10, 10**6), third(100, 10**6), tenth(1000, 10**6), few_asked_for(1000, 10**6)),
    flower_weights=10**6,
    flower_pairs=7,
    memory=(100, 10**7),
)
QUICK = Sizes(
    dimensions=(10**6,),
    pairs=1,
    attempts=(third(10, 10**6), third(100, 10**5), tenth(300, 10**5)),
    flower_weights=10**5,
    flower_pairs=1,
    memory=(10, 15 * 10**6),
)


def layout_of(weights: int, sites: int, bits: int = 16) -> Layout:
    return Layout((Segment("update", weights, RANGE),), sites, bits)


def random_words(count: int, name: str) -> Words:
    return Keystream(derive_key("benchmark", name)).words32(2 * count).view("<u8").astype(np.uint64)


# --- masking and unmasking beside the keystream ---


def masking(sizes: Sizes) -> dict[str, float]:
    """Applying masks over making them."""
    found = masking_figures(grid(quick=sizes is QUICK))
    print(f"masking: {found['mask_over_limit']:.2f} times the keystream at worst")
    return {"mask_over_limit": found["mask_over_limit"], "keystream_gigabytes": keystream_speed()}


def keystream_speed() -> float:
    """Gigabytes of AES-256-CTR keystream a second, now."""
    words = 1 << 24
    return words * WORD_BYTES / seconds(lambda: keystream_limit(words, 1)) / 1e9


def unmasking(sizes: Sizes) -> dict[str, float]:
    """Recovering secrets, deriving keys and removing masks, over making as many bytes of keystream."""
    rows, worst = [], 0.0
    for weights in sizes.dimensions:
        for neighbours in NEIGHBOURS:
            for dropout in DROPOUTS:
                ours, limit = unmask_pairs(words_of(weights), neighbours + 1, dropout, sizes.pairs)
                ratio = Spread.of(ratios(ours, limit))
                rows.append(
                    (
                        f"{weights:,} weights, k = {neighbours}",
                        f"{dropout:.0%}",
                        f"{min(ours):.3f}",
                        ratio.text(2),
                    )
                )
                worst = max(worst, ratio.median)
    print(table(("unmasking", "dropout", "s", "over the keystream"), rows))
    return {"unmask_over_limit": worst}


def unmask_pairs(words: int, sites: int, dropout: float, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of unmasking and of its keystream, in turns."""
    dropped = round(dropout * sites)
    secrets = released_secrets(sites, dropped)
    vector = random_words(words, "unmask")
    masks = (sites - dropped) * (1 + dropped)
    works = {
        "ours": lambda _: seconds(lambda: apply_masks(vector, *fresh(secrets).masks())),
        "limit": lambda _: seconds(lambda: keystream_limit(words, masks)),
    }
    found = interleave(works, pairs)
    return found["ours"], found["limit"]


def fresh(secrets: Unmasking) -> Unmasking:
    """The same shares, of which nothing has been recovered."""
    return Unmasking(
        secrets.agreement, secrets.sharers, secrets.survivors, secrets.commitments, secrets.releases
    )


def released_secrets(sites: int, dropped: int) -> Unmasking:
    """What the coordinator holds when a session over a complete graph comes to its end."""
    keys = [ExchangeKey.generate() for _ in range(sites)]
    members = tuple(
        Member(f"site{number:04}", os.urandom(32), key.public, bytes(64)) for number, key in enumerate(keys)
    )
    names = tuple(member.site for member in members)
    header = Header(bytes(32), bytes(16), 1, 1, Work.TRAIN, bytes(32), names, 1, 1, 1, n_min=3)
    session = Agreement(header, bytes(32), members)
    survivors = tuple(range(sites - dropped))
    seeds = [os.urandom(32) for _ in keys]
    released = [seeds[place] if place in survivors else key.secret for place, key in enumerate(keys)]
    shares = [split(secret, session.threshold, sites) for secret in released]
    releases = {holder: b"".join(dealt[holder] for dealt in shares) for holder in survivors}
    commitments = {place: commitment(seed, names[place], session.name) for place, seed in enumerate(seeds)}
    return Unmasking(session, tuple(range(sites)), survivors, commitments, releases)


# --- whole attempts ---


@dataclass(frozen=True)
class Cost:
    """Seconds of one attempt, and what the formula makes of it."""

    site: float
    masking: float
    coordinator: float
    formula_masking: float
    formula_coordinator: float

    @property
    def over_formula(self) -> float:
        """The worse of both parties' ratios."""
        return max(self.masking / self.formula_masking, self.coordinator / self.formula_coordinator)

    def cells(self) -> list[str]:
        parts = self.site, self.masking, self.formula_masking, self.coordinator, self.formula_coordinator
        return [*(f"{part:.3f}" for part in parts), f"{self.over_formula:.2f}"]


def attempts(sizes: Sizes) -> dict[str, float]:
    """Seconds of attempts, and how they compare with counting masks and additions."""
    rows, named = [], {}
    for case in sizes.attempts:
        cost = attempt_cost(case)
        label = f"{case.sites} sites, n_min = {case.n_min}, k = {case.degree}, {case.weights:,} weights"
        rows.append((label, *cost.cells()))
        named[f"attempt_seconds_{case.name}"] = cost.site + cost.coordinator
        named[f"over_formula_{case.name}"] = cost.over_formula
    columns = ("attempt", "site s", "masking s", "formula", "coordinator s", "formula", "over formula")
    print(table(columns, rows))
    return named


def attempt_cost(case: Case) -> Cost:
    """One session with a tenth of the sites dropped before they mask."""
    federation = Federation(case.sites, case.colluders, case.n_min)
    layout, clock = layout_of(case.weights, case.sites), Stopwatch()
    timed = federation.names if case.sites <= ALL_TIMED else federation.names[:SAMPLED]
    dropped = case.sites // 10
    session = federation.run(
        layout, lambda name: random_words(layout.words, name), dropped, timed, coordinator=clock
    )
    survivors = case.sites - dropped
    expansions = survivors + dropped * case.degree * survivors / case.sites
    return Cost(
        site=session.site_seconds(timed),
        masking=session.masking_seconds(timed),
        coordinator=clock.seconds,
        formula_masking=FORMULA_BYTES * case.weights * (case.degree + 1) / EXPANDED,
        formula_coordinator=expansions * FORMULA_BYTES * case.weights / EXPANDED
        + survivors * case.weights / ADDED,
    )


# --- beside Flower's SecAgg+ ---


@dataclass(frozen=True)
class Effort:
    """Seconds of one attempt: the coordinator's and one site's by the clock, and all parties' CPU time."""

    coordinator: float
    site: float
    cpu: float

    @property
    def attempt(self) -> float:
        """From the opening to the mean, if messages took no time to travel."""
        return self.coordinator + self.site


def flower(sizes: Sizes) -> dict[str, float]:
    """A warm attempt of 8 sites, from their updates to the mean update, beside Flower's SecAgg+."""
    # Imported here: it takes seconds, and is not needed for the other parts.
    from flower_secagg import Round

    rng = np.random.default_rng(1)
    updates = [rng.uniform(-1, 1, sizes.flower_weights).astype(np.float32) for _ in range(FLOWER_SITES)]
    mean = np.mean(updates, axis=0)
    federation = Federation(FLOWER_SITES, FLOWER_COLLUDERS, threads=FLOWER_THREADS, clock=time.perf_counter)
    needed = threshold(FLOWER_SITES, FLOWER_COLLUDERS)

    def ours(_: int) -> Effort:
        return our_round(federation, updates, mean)

    def theirs(_: int) -> Effort:
        prepared = Round(updates, needed, RANGE)
        started, cpu = time.perf_counter(), time.process_time()
        found = prepared.run()
        whole, cpu = time.perf_counter() - started, time.process_time() - cpu
        check_mean(found, mean)
        return Effort(whole - sum(prepared.site_seconds), statistics.median(prepared.site_seconds), cpu)

    ours(0), theirs(0)
    found = interleave({"ours": ours, "theirs": theirs}, sizes.flower_pairs)
    for name, efforts in found.items():
        best = min(efforts, key=lambda effort: effort.attempt)
        print(
            f"{name}: {best.attempt:.4f} s (coordinator {best.coordinator:.4f}, site {best.site:.4f}), "
            f"all parties' CPU time {min(effort.cpu for effort in efforts):.3f} s"
        )
    named = {
        "bare_ratio_vs_flower_secagg": ratios(
            *([e.attempt for e in found[who]] for who in ("theirs", "ours"))
        ),
        "cpu_ratio_vs_flower_secagg": ratios(*([e.cpu for e in found[who]] for who in ("theirs", "ours"))),
    }
    for name, values in named.items():
        print(f"{name}: Flower's seconds over ours {Spread.of(values).text(2)}")
    counted = Round(updates, needed, RANGE)
    counted.run()
    figures = {name: Spread.of(values).median for name, values in named.items()}
    return {**figures, "flower_bytes_per_weight": counted.bytes_up / FLOWER_SITES / sizes.flower_weights}


def engine(sizes: Sizes) -> dict[str, float]:
    """Whole warm attempts as each framework simulates them: ours in this process, Flower's on Ray."""
    rng = np.random.default_rng(1)
    updates = [rng.uniform(-1, 1, sizes.flower_weights).astype(np.float32) for _ in range(FLOWER_SITES)]
    mean = np.mean(updates, axis=0)
    federation = Federation(FLOWER_SITES, FLOWER_COLLUDERS, threads=FLOWER_THREADS, clock=time.perf_counter)
    needed = threshold(FLOWER_SITES, FLOWER_COLLUDERS)

    def ours(_: int) -> float:
        started = time.perf_counter()
        our_round(federation, updates, mean)
        return time.perf_counter() - started

    with FlowerEngine(FLOWER_SITES, sizes.flower_weights, RANGE, needed) as flowers:
        for _ in range(WARM_UP):
            ours(0), flowers.attempt(0)
        found = interleave({"ours": ours, "theirs": flowers.attempt}, sizes.flower_pairs)
    for name, taken in found.items():
        print(f"{name}, in its own engine: {Spread.of(taken).text(3)} s an attempt, all parties together")
    ratio = Spread.of(ratios(found["theirs"], found["ours"]))
    print(f"ratio_vs_flower_secagg: Flower's seconds over ours {ratio.text(2)}")
    return {"ratio_vs_flower_secagg": ratio.median}


class FlowerEngine:
    """Flower's simulation in a process of its own, which runs an attempt when asked to."""

    def __init__(self, sites: int, weights: int, bound: float, needed: int) -> None:
        script = Path(__file__).with_name("flower_engine.py")
        command = [sys.executable, str(script), *map(str, (sites, weights, bound, needed))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def attempt(self, _: int) -> float:
        """Seconds of one attempt. Raises RuntimeError if it came to no mean."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return float(line.removeprefix(ANSWER))
        raise RuntimeError("Flower's engine ended before its attempt did")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def our_round(federation: Federation, updates: Sequence[np.ndarray], mean: np.ndarray) -> Effort:
    """Encode, mask, sum, unmask and decode."""
    layout, clock = layout_of(updates[0].size, len(updates)), Stopwatch(time.perf_counter)

    def payload(name: str) -> Words:
        update = updates[federation.names.index(name)]
        return layout.encode({"update": update}, Keystream(derive_key("benchmark", name)))

    cpu = time.process_time()
    session = federation.encode_and_run(layout, payload, clock)
    total = session.result
    assert total is not None
    found = clock(lambda: layout.decode(total.words, len(updates))["update"] / len(updates))
    cpu = time.process_time() - cpu
    check_mean(found, mean)
    return Effort(clock.seconds, session.site_seconds(federation.names), cpu)


def check_mean(found: np.ndarray, expected: np.ndarray) -> None:
    """Raises RuntimeError if a round's mean is not that of the updates, but for quantisation."""
    if np.abs(found - expected).max() > 2 * RANGE / 2**15:
        raise RuntimeError("the mean is not that of the updates")


# --- memory and traffic ---


def memory(sizes: Sizes) -> dict[str, float]:
    """The most vectors that the coordinator holds at a time, the reply that it reads included."""
    # In a process of its own: after other work, vectors would come out of memory that is resident already.
    with get_context("spawn").Pool(1) as pool:
        vectors = pool.apply(peak_vectors, sizes.memory)
    print(f"memory: at most {vectors:.2f} vectors at the coordinator of {sizes.memory[0]} sites")
    return {"coordinator_peak_vectors": vectors}


def peak_vectors(sites: int, weights: int) -> float:
    """Peak of the coordinator's resident memory over the bytes of one vector."""
    layout, meter = layout_of(weights, sites), MemoryMeter()
    Federation(sites).run(layout, lambda name: random_words(layout.words, name), 0, (), meter)
    return meter.peak / (layout.words * WORD_BYTES)


def traffic(sizes: Sizes) -> dict[str, float]:
    """Bytes of a site's masked reply for each weight, in rounds of 30."""
    weights = sizes.dimensions[0]
    named = {}
    for name, bits in (("bytes_per_weight", 16), ("bytes_per_weight_8bit", 8)):
        layout = layout_of(weights, TRAFFIC_SITES, bits)
        session = Federation(TRAFFIC_SITES).run(
            layout, lambda site, count=layout.words: random_words(count, site), 0, (), until=MASK
        )
        named[name] = session.masked_bytes / weights
    print(
        f"traffic: {named['bytes_per_weight']:.3f} bytes a weight, "
        f"{named['bytes_per_weight_8bit']:.3f} with 8 bits"
    )
    return named


PARTS = {part.__name__: part for part in (masking, unmasking, attempts, flower, engine, memory, traffic)}


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of secure aggregation.")
    parser.add_argument("--quick", action="store_true", help="smaller vectors, fewer sites, one pair")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    chosen = parser.parse_args()
    print(machine(), flush=True)
    named: dict[str, float] = {}
    for part in chosen.only:
        named |= PARTS[part](QUICK if chosen.quick else FULL)
    print(json_line("secure_aggregation", named))


if __name__ == "__main__":
    main()

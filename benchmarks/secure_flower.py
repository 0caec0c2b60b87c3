"""Attempts of secure aggregation beside Flower's SecAgg+: the bare protocols, and each in its own engine."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pairs import Spread, interleave, ratios
from secure_federation import Federation, Stopwatch
from secure_workload import RANGE, Sizes, layout_of

from sealora.protocol.codec import Words
from sealora.protocol.keystream import Keystream, derive_key
from sealora.protocol.thresholds import threshold

SITES, COLLUDERS, THREADS = 8, 2, 2
WARM_UP = 2
"""Attempts in each engine before the first that counts."""
ANSWER = "seconds "
"""What an answer of Flower's engine begins with, among its other lines."""


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


def drawn(sizes: Sizes) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Every site's update, and their mean."""
    rng = np.random.default_rng(1)
    updates = [rng.uniform(-1, 1, sizes.flower_weights).astype(np.float32) for _ in range(SITES)]
    return updates, np.mean(updates, axis=0)


def flower(sizes: Sizes) -> dict[str, float]:
    """A warm attempt of 8 sites, from their updates to the mean update, beside Flower's SecAgg+."""
    # Imported here: it takes seconds, and is not needed for the other parts.
    from flower_secagg import Round

    updates, mean = drawn(sizes)
    federation = Federation(SITES, COLLUDERS, threads=THREADS, clock=time.perf_counter)
    needed = threshold(SITES, COLLUDERS)

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
    return {**figures, "flower_bytes_per_weight": counted.bytes_up / SITES / sizes.flower_weights}


def engine(sizes: Sizes) -> dict[str, float]:
    """Whole warm attempts as each framework simulates them: ours in this process, Flower's on Ray."""
    updates, mean = drawn(sizes)
    federation = Federation(SITES, COLLUDERS, threads=THREADS, clock=time.perf_counter)
    needed = threshold(SITES, COLLUDERS)

    def ours(_: int) -> float:
        started = time.perf_counter()
        our_round(federation, updates, mean)
        return time.perf_counter() - started

    with FlowerEngine(SITES, sizes.flower_weights, RANGE, needed) as flowers:
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

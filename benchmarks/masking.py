"""Masking a vector, beside the fastest that AES-256-CTR makes the same bytes of keystream.

    python benchmarks/masking.py [--quick]

`mask_over_limit` is the time of `apply_masks` on one thread over the time of `update_into` for
the same number of keystream bytes, in the same chunks: the price of applying the masks on top of
making them. The two alternate, so that other work on the machine troubles both alike; the figure
is the median over the pairs. Two threads gain only where a second core is idle. The dimension
counts 16-bit weights, three to a 64-bit word.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sealora.protocol.masks import BLOCK_BYTES, CHUNK_WORDS, WORD_BYTES, apply_masks

WEIGHTS_PER_WORD = 3
DIMENSIONS = (1_000_000, 10_000_000)
NEIGHBOURS = (10, 50, 100)
PAIRS = 5
TARGET = 1.5


@dataclass(frozen=True)
class Masking:
    """Median seconds for d weights and k masks, and the median ratio of the pairs."""

    weights: int
    neighbours: int
    mask_seconds: float
    limit_seconds: float
    two_threads_seconds: float
    mask_over_limit: float

    @property
    def gigabytes_per_second(self) -> float:
        """Keystream made and applied, on one thread."""
        return words_of(self.weights) * WORD_BYTES * self.neighbours / self.mask_seconds / 1e9


def words_of(weights: int) -> int:
    """64-bit words that carry so many 16-bit weights."""
    return -(-weights // WEIGHTS_PER_WORD)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def keystream_limit(words: int, neighbours: int) -> None:
    """Make as many keystream bytes as masking does, under one key, and apply none of them."""
    encryptor = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(BLOCK_BYTES))).encryptor()
    total, chunk = words * WORD_BYTES * neighbours, WORD_BYTES * CHUNK_WORDS
    zeros, keystream = memoryview(bytes(chunk)), bytearray(chunk + BLOCK_BYTES)
    for start in range(0, total, chunk):
        encryptor.update_into(zeros[: total - start], keystream)


def measure(weights: int, neighbours: int, pairs: int = PAIRS) -> Masking:
    """Masking beside its limit, interleaved `pairs` times after one unmeasured call of each."""
    words = np.zeros(words_of(weights), dtype=np.uint64)
    keys = [os.urandom(32) for _ in range(neighbours)]
    add, subtract = keys[::2], keys[1::2]
    apply_masks(words, add[:1], [])
    keystream_limit(words.size, 1)
    masked, limit, threaded = [], [], []
    for _ in range(pairs):
        masked.append(seconds(lambda: apply_masks(words, add, subtract)))
        limit.append(seconds(lambda: keystream_limit(words.size, neighbours)))
        threaded.append(seconds(lambda: apply_masks(words, add, subtract, threads=2)))
    return Masking(
        weights,
        neighbours,
        statistics.median(masked),
        statistics.median(limit),
        statistics.median(threaded),
        statistics.median(mask / raw for mask, raw in zip(masked, limit, strict=True)),
    )


def grid(quick: bool) -> list[Masking]:
    """Every dimension and number of neighbours; `quick` stops at a million weights."""
    dimensions = DIMENSIONS[:1] if quick else DIMENSIONS
    return [measure(weights, neighbours) for weights in dimensions for neighbours in NEIGHBOURS]


def figures(results: list[Masking]) -> dict[str, float]:
    """The figures by name; `mask_over_limit` alone is the worst of the grid."""
    named = {f"mask_over_limit_d{r.weights}_k{r.neighbours}": round(r.mask_over_limit, 3) for r in results}
    named["mask_over_limit"] = max(named.values())
    named["gigabytes_per_second"] = round(min(r.gigabytes_per_second for r in results), 2)
    return named


def main() -> None:
    parser = argparse.ArgumentParser(description="Masking beside the AES-CTR keystream limit.")
    parser.add_argument("--quick", action="store_true", help="a million weights only")
    results = grid(parser.parse_args().quick)
    columns = ("mask ms", "limit ms", "2 threads")
    print(f"{'weights':>10} {'k':>4} {' '.join(f'{c:>9}' for c in columns)} {'GB/s':>6} {'mask/limit':>10}")
    for r in results:
        times = " ".join(f"{1e3 * t:9.1f}" for t in (r.mask_seconds, r.limit_seconds, r.two_threads_seconds))
        print(
            f"{r.weights:10} {r.neighbours:4} {times} {r.gigabytes_per_second:6.2f} {r.mask_over_limit:10.2f}"
        )
    print(f"target: mask/limit at most {TARGET}")
    print(json.dumps({"benchmark": "masking", "figures": figures(results)}))


if __name__ == "__main__":
    main()

"""What sketches of products cost and lose, beside the product itself.

    python benchmarks/products.py [--quick]

One square module, whose sites' factors are drawn at the size of an adapter after a round. Every site encodes
its product, the codec rounds it to 16 bits over ±0.05, and the coordinator decodes the sum: with sketches as
wide as they are by default, with sketches of exactly the rank, which on paper is enough, and with the product
itself. Errors are those of the mean product (Frobenius norm), in units of step·√(out·in·n) / Σ w with weights
of 1: the bound that the manual states is 2. Milliseconds are of one thread.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pairs import Spread, json_line, machine, table

from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.protocol.codec import Layout, Segment
from sealora.protocol.keystream import Keystream, derive_key
from sealora.strategies.products import Exchange, usual_width
from sealora.strategies.strategy import Context

RANGE, BITS = 0.05, 16
DRAWS, QUICK_DRAWS = 5, 2
MIXED = (4, 8, 16)


@dataclass(frozen=True)
class Case:
    """One module among some sites."""

    side: int
    ranks: tuple[int, ...]

    @property
    def context(self) -> Context:
        """A first round of these sites."""
        rank = max(self.ranks)
        a = TensorSpec("m.lora_A.weight", (rank, self.side), "A", "m")
        b = TensorSpec("m.lora_B.weight", (self.side, rank), "B", "m")
        return Context(AdapterLayout((a, b), rank), 1, len(self.ranks), 0, self.ranks)

    @property
    def name(self) -> str:
        """Side and ranks."""
        kinds = sorted(set(self.ranks))
        return f"{self.side}, {len(self.ranks)} sites of rank {', '.join(map(str, kinds))}"


@dataclass(frozen=True)
class Measured:
    """One way of sending the products of one draw."""

    values: int
    error: float
    encode_ms: float
    decode_ms: float


CASES = (
    Case(384, (8,) * 8),
    Case(768, (8,) * 8),
    Case(768, MIXED * 3),
    Case(1024, (8,) * 16),
    Case(4096, (8,) * 8),
)


def measure(case: Case, width: int, draw: int) -> Measured:
    """Encode, round, add up and decode once."""
    context, random = case.context, np.random.default_rng(draw)
    exchange = Exchange(context, width, RANGE)
    layout = Layout(
        tuple(Segment(part.name, part.length, RANGE) for part in exchange.parts()), len(case.ranks), BITS
    )
    sums: dict[str, NDArray[np.float64]] = {part.name: np.zeros(part.length) for part in exchange.parts()}
    true, encoding = np.zeros((case.side, case.side)), []
    for site, rank in enumerate(case.ranks):
        b = random.normal(0, 0.01, (case.side, rank))
        a = random.uniform(-1, 1, (rank, case.side)) / np.sqrt(case.side)
        started = time.perf_counter()
        vectors = exchange.encode({"m": (b, a)})
        encoding.append(time.perf_counter() - started)
        words = layout.encode(vectors, Keystream(derive_key("rounding", draw, site)))
        for name, vector in layout.decode(words, 1).items():
            sums[name] += vector
        true += b @ a
    started = time.perf_counter()
    found, _ = exchange.decode(sums)
    decoding = time.perf_counter() - started
    unit = 2 * RANGE / layout.levels * np.sqrt(true.size * len(case.ranks))
    error = float(np.linalg.norm(found["m"].dense() - true)) / unit
    return Measured(sum(map(len, vectors.values())), error, 1e3 * min(encoding), 1e3 * decoding)


def main() -> None:
    """Print the table and the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller cases, with fewer draws")
    quick = parser.parse_args().quick
    print(machine())
    rows: list[tuple[str, ...]] = []
    figures: dict[str, float] = {}
    for case in CASES[:3] if quick else CASES:
        context = case.context
        factors = 2 * context.layout.rank * case.side
        widths = {"sketch": usual_width(context), "of the rank": context.total_rank, "product": 0}
        if case.side > 1024:
            del widths["of the rank"]
        for name, width in widths.items():
            draws = [measure(case, width, draw) for draw in range(QUICK_DRAWS if quick else DRAWS)]
            error = Spread.of([one.error for one in draws])
            times = [Spread.of([getattr(one, part) for one in draws]) for part in ("encode_ms", "decode_ms")]
            ratio = draws[0].values / factors
            rows.append(
                (
                    case.name,
                    name,
                    str(width or "–"),
                    f"{ratio:.1f}",
                    error.text(2),
                    *(t.text(1) for t in times),
                )
            )
            key = f"side{case.side}_sites{len(case.ranks)}_{name.replace(' ', '_')}"
            figures |= {f"values_over_factors_{key}": ratio, f"error_{key}": error.most}
    columns = ("module", "sent", "width", "values / (A, B)", "error", "encode ms", "decode ms")
    print(table(columns, rows))
    print(json_line("products", figures))


if __name__ == "__main__":
    main()

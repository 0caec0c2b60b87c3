"""Sums of products over sites: M = Σ p_k·s·B_k·A_k from linear sketches, so that no one sees a single one.

In one session every site sends M_k·Ω and Ψ·M_k for each adapted module, with orthonormal Ω (in × ℓ) and
Ψ (2ℓ × out) from the plan's seed. From their sums, with Q an orthonormal basis of the columns of M·Ω,

    M = Q·(Ψ·Q)⁺·Ψ·M

holds exactly where ℓ is at least the rank of M: Tropp et al. 2017 (arXiv 1609.00048), algorithm 4. Rounding
errors of the codec grow where ℓ is hardly above the rank, so the width is a little more. Where both sketches
together are no smaller than M, M itself is sent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sealora.models.adapter import TensorSpec
from sealora.protocol.keystream import Keystream, derive_key
from sealora.strategies.strategy import Context, Part

Matrix = NDArray[np.float64]
Factors = tuple[Matrix, Matrix]
"""A product of (out × rank) and (rank × in)."""
RIGHT, LEFT, DENSE = "right sketch", "left sketch", "product"
"""The parts: M·Ω, Ψ·M, and M of the modules where that is smaller; modules end to end."""
SPARE = 8
"""One column more than the rank for each so many, and at least `LEAST_SPARE`: keeps rounding errors small."""
LEAST_SPARE = 4


@dataclass(frozen=True)
class Product:
    """A matrix as basis · core, with an orthonormal basis (out × ℓ); None stands for the unit matrix."""

    basis: Matrix | None
    core: Matrix

    def dense(self) -> Matrix:
        """Shape (out, in)."""
        return self.core if self.basis is None else self.basis @ self.core

    def decomposed(self) -> tuple[Matrix, NDArray[np.float64], Matrix]:
        """U, Σ and Vᵀ; the largest entry of each row of Vᵀ is positive, for signs are arbitrary."""
        left, values, right = np.linalg.svd(self.core, full_matrices=False)
        signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
        left = left if self.basis is None else self.basis @ left
        return left * signs, values, right * signs[:, None]


def needed_width(context: Context) -> int:
    """The least width ℓ that loses nothing: the mean of the sites' moves, added to the product that all
    began with, has a rank of at most Σ r_k and that of the beginning.
    """
    return context.total_rank + context.layout.rank


def usual_width(context: Context) -> int:
    """What is needed, and some to spare."""
    return needed_width(context) + max(LEAST_SPARE, needed_width(context) // SPARE)


@dataclass(frozen=True)
class Exchange:
    """How the products of one round travel: the same at all parties, from the context alone."""

    context: Context
    width: int
    """ℓ; 0 sends M itself for all modules."""
    range: float
    """Largest magnitude of a coordinate, after weighting."""

    GROUP: ClassVar[Literal["product"]] = "product"

    def sketched(self, pair: tuple[TensorSpec, TensorSpec]) -> bool:
        """Whether the module's two sketches are smaller than its product."""
        (_, columns), (rows, _) = pair[0].shape, pair[1].shape
        return 0 < self.width * (rows + 2 * columns) < rows * columns

    def parts(self) -> tuple[Part, ...]:
        """The vectors that carry the products, those of no length left out."""
        lengths = dict.fromkeys((RIGHT, LEFT, DENSE), 0)
        for name, _, (rows, columns) in self._blocks():
            lengths[name] += rows * columns
        return tuple(
            Part(name, length, range=self.range, group=self.GROUP)
            for name, length in lengths.items()
            if length
        )

    def encode(self, factors: Mapping[str, Factors]) -> dict[str, Matrix]:
        """Each part's vector, from a product of factors for each module. Linear in the products."""
        vectors: dict[str, list[Matrix]] = {part.name: [] for part in self.parts()}
        for name, (a, _), _ in self._blocks():
            left, right = factors[a.module]
            if name == RIGHT:
                block = left @ (right @ self._omega(a))
            else:
                block = (self._psi(a, len(left)) @ left if name == LEFT else left) @ right
            vectors[name].append(block.reshape(-1))
        return {name: np.concatenate(blocks) for name, blocks in vectors.items()}

    def decode(self, vectors: Mapping[str, Matrix]) -> tuple[dict[str, Product], float]:
        """Each module's product, and an estimate of ‖M − M̂‖ / ‖M‖ over all modules that were sketched.

        The least squares for (Ψ·Q)⁺ have 2ℓ equations for ℓ unknowns; what they leave over is the part of
        M outside Q's span as Ψ sees it, in ℓ of `out` directions.
        """
        starts = dict.fromkeys(vectors, 0)
        blocks: dict[tuple[str, str], Matrix] = {}
        for name, (a, _), shape in self._blocks():
            size = shape[0] * shape[1]
            blocks[a.module, name] = vectors[name][starts[name] : starts[name] + size].reshape(shape)
            starts[name] += size
        found: dict[str, Product] = {}
        missed = total = 0.0
        for a, b in self.context.layout.pairs:
            if not self.sketched((a, b)):
                found[a.module] = Product(None, blocks[a.module, DENSE])
                continue
            basis = np.linalg.qr(blocks[a.module, RIGHT])[0]
            seen = self._psi(a, len(basis)) @ basis
            core = np.linalg.lstsq(seen, blocks[a.module, LEFT], rcond=None)[0]
            rest = blocks[a.module, LEFT] - seen @ core
            missed += float(np.sum(rest**2)) * len(basis) / self.width
            total += float(np.sum(core**2))
            found[a.module] = Product(basis, core)
        return found, float(np.sqrt(missed / total)) if total else 0.0

    def _blocks(self) -> Iterator[tuple[str, tuple[TensorSpec, TensorSpec], tuple[int, int]]]:
        """(part, module's pair, shape) in the order in which the vectors hold them."""
        for pair in self.context.layout.pairs:
            (_, columns), (rows, _) = pair[0].shape, pair[1].shape
            if self.sketched(pair):
                yield RIGHT, pair, (rows, self.width)
                yield LEFT, pair, (2 * self.width, columns)
            else:
                yield DENSE, pair, (rows, columns)

    def _omega(self, a: TensorSpec) -> Matrix:
        return self._orthonormal("right", a, a.shape[1], self.width)

    def _psi(self, a: TensorSpec, rows: int) -> Matrix:
        return self._orthonormal("left", a, rows, 2 * self.width).T

    def _orthonormal(self, side: str, a: TensorSpec, rows: int, columns: int) -> Matrix:
        key = derive_key("sealora/v1/sketch", self.context.seed, self.context.round, side, a.module)
        return orthonormal(key, rows, columns)


def orthonormal(key: bytes, rows: int, columns: int) -> Matrix:
    """Orthonormal columns drawn uniformly, but for signs, from a key: (rows, columns), columns ≤ rows."""
    words = Keystream(key).words32(2 * rows * columns).astype(np.float64).reshape(2, rows, columns)
    uniform = (words + 0.5) * 2.0**-32
    # Box and Muller 1958: two uniform numbers make one that is Gaussian.
    return np.linalg.qr(np.sqrt(-2 * np.log(uniform[0])) * np.cos(2 * np.pi * uniform[1]))[0]

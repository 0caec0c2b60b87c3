"""A federated linear model of rank one, on which FFA plateaus and RoLoRA does not: NumPy only.

After Chen et al. 2025 (RoLoRA, arXiv 2502.01755), section 4.1: site k holds X_k (rows × d, standard normal)
and Y_k = X_k·a*·b*ᵀ without noise, and a·bᵀ is learnt by LoRA factors A (1 × d) and B (m × 1). Since every
site has the same optimum, only what a strategy trains decides how near it comes. With A fixed, as in FFA,
the best B leaves the share sin² θ of ‖a*·b*ᵀ‖², with θ the angle between A and a*.

Strategies run as they are, on exact sums; training is plain gradient descent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from strategy_rounds import run_rounds

from sealora.models.adapter import AdapterLayout, Tensors, TensorSpec
from sealora.strategies.strategy import Start, Trained

INPUTS, OUTPUTS, SITES, ROWS = 10, 10, 5, 50
STEPS, STEP_SIZE = 10, 0.05
LAYOUT = AdapterLayout(
    (
        TensorSpec("layer.lora_A.weight", (1, INPUTS), "A", "layer"),
        TensorSpec("layer.lora_B.weight", (OUTPUTS, 1), "B", "layer"),
    ),
    rank=1,
)
A, B = (spec.name for spec in LAYOUT.specs)

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """What the sites hold, what they should find, and where all begin."""

    inputs: tuple[Matrix, ...]
    """X of every site, shape (ROWS, INPUTS)."""
    optimum: Matrix
    """a*·b*ᵀ transposed, shape (OUTPUTS, INPUTS), of norm 1."""
    first: Tensors
    """A of norm 1 and B = 0."""

    @classmethod
    def draw(cls, seed: int) -> "Problem":
        """The problem of a seed."""
        generator = np.random.default_rng(seed)
        inputs = tuple(generator.normal(size=(ROWS, INPUTS)) for _ in range(SITES))
        left, right, start = (generator.normal(size=size) for size in (OUTPUTS, INPUTS, INPUTS))
        product = np.outer(left / np.linalg.norm(left), right / np.linalg.norm(right))
        first = {
            A: (start / np.linalg.norm(start))[None, :].astype(np.float32),
            B: np.zeros((OUTPUTS, 1), np.float32),
        }
        return cls(inputs, product, first)

    @property
    def plateau(self) -> float:
        """The share of the optimum that no B can reach with the first A: sin² θ."""
        direction = self.first[A][0].astype(np.float64)
        direction /= np.linalg.norm(direction)
        return float(1 - np.sum(np.square(self.optimum @ direction)))

    def error(self, tensors: Tensors) -> float:
        """‖B·A − b*·a*ᵀ‖² / ‖b*·a*ᵀ‖²."""
        return float(np.sum(np.square(tensors[B].astype(np.float64) @ tensors[A] - self.optimum)))

    def train(self, site: int, start: Start, trains: tuple[str, ...]) -> Trained:
        """Gradient descent on the site's mean squared error."""
        current = {name: np.array(tensor, np.float64) for name, tensor in start.tensors.items()}
        moments = self.inputs[site].T @ self.inputs[site] / ROWS
        for _ in range(STEPS):
            product = 2 * (current[B] @ current[A] - self.optimum) @ moments
            gradients = {A: current[B].T @ product, B: product @ current[A].T}
            for name in trains:
                current[name] = current[name] - STEP_SIZE * gradients[name]
        tensors = {name: tensor.astype(np.float32) for name, tensor in current.items()}
        return Trained(tensors, 0.0, STEPS * ROWS, STEPS, STEP_SIZE)


def errors(name: str, problem: Problem, rounds: int) -> list[float]:
    """The relative error after each round."""
    found: list[float] = []
    weights = [1.0] * SITES
    run_rounds(
        name, LAYOUT, problem.first, weights, rounds, problem.train, lambda t: found.append(problem.error(t))
    )
    return found

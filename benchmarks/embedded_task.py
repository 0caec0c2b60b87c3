"""Text classification small enough for many federations a minute: LoRA on one layer, NumPy only.

Texts become sentence embeddings x by the bundled MiniLM (the mean of its last layer), once. The model is
H·(I + W + s·B·A)·x, with a LoRA pair of rank 8 on an identity, W what a strategy adds to the base, and a
random head H. The head stays as it was drawn, so that whatever is learnt goes through A and B.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from sealora.models.adapter import AdapterLayout, Tensors, TensorSpec
from sealora.models.base import locate
from sealora.models.settings import ModelSettings
from sealora.models.table import draw_rows, read_table
from sealora.models.task_registry import task_card
from sealora.plan.loader import load
from sealora.strategies.strategy import Start, Trained

EXAMPLES = Path(__file__).parents[1] / "examples"
RANK, SCALE, WIDTH, TOKENS, BATCH = 8, 2.0, 384, 40, 32
LAYOUT = AdapterLayout(
    (
        TensorSpec("layer.lora_A.weight", (RANK, WIDTH), "A", "layer", SCALE),
        TensorSpec("layer.lora_B.weight", (WIDTH, RANK), "B", "layer", SCALE),
    ),
    rank=RANK,
)
A, B = (spec.name for spec in LAYOUT.specs)

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Embeddings, shape (rows, WIDTH), and classes, shape (rows,)."""

    inputs: Matrix
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    def of(self, rows: NDArray[np.int64]) -> "Rows":
        """Some of the rows."""
        return Rows(self.inputs[rows], self.classes[rows])


@dataclass(frozen=True)
class Local:
    """How a site trains in a round: SGD on Poisson samples, private if there is noise."""

    steps: int
    step_size: float
    sampling_rate: float
    noise: float | None = None
    """Noise multiplier; every row's gradient is then clipped to a norm of 1."""


def embed(task: str, rows: int, folder: Path) -> Rows:
    """Rows of an example's data, centred and with a mean square of 1 over rows; kept in the folder."""
    path = folder / f"{task}-{rows}.npz"
    if not path.exists():
        plan = load(EXAMPLES / task / "plan.toml")
        columns = task_card(plan.task.name).columns(plan.data)
        table = draw_rows(read_table(plan.data, columns), rows, 0)
        labels = [str(label) for label in table[plan.data.label_column]]
        names = [plan.data.label_map.get(label, label) for label in labels]
        classes = np.array([plan.task.labels.index(name) for name in names], np.int64)
        inputs = embeddings(list(table[plan.data.text_column]), plan.model)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, inputs=inputs, classes=classes)
        partial.rename(path)
    with np.load(path) as kept:
        inputs = kept["inputs"].astype(np.float64)
        centred = inputs - inputs.mean(axis=0)
        return Rows(centred / math.sqrt(np.square(centred).sum(axis=1).mean()), kept["classes"])


@torch.inference_mode()
def embeddings(texts: Sequence[str], settings: ModelSettings) -> NDArray[np.float32]:
    """The mean of the last layer over a text's first tokens, shape (texts, WIDTH)."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = locate(settings)
    model, tokenizer = AutoModel.from_pretrained(source).eval(), AutoTokenizer.from_pretrained(source)
    found = np.zeros((len(texts), WIDTH), np.float32)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = tokenizer(
            [texts[row] for row in rows],
            padding=True,
            truncation=True,
            max_length=TOKENS,
            return_tensors="pt",
        )
        mask = batch["attention_mask"][:, :, None]
        hidden = model(**batch).last_hidden_state * mask
        found[rows] = (hidden.sum(dim=1) / mask.sum(dim=1)).numpy()
    return found


def head(classes: int, seed: int) -> Matrix:
    """A random head with rows of norm about 1, shape (classes, WIDTH)."""
    return np.random.default_rng([seed, 1]).normal(0, 1 / math.sqrt(WIDTH), (classes, WIDTH))


def product(tensors: Tensors) -> Matrix:
    """W + s·B·A: a tensor beside A and B is what a strategy added to the base."""
    added = [tensor.astype(np.float64) for name, tensor in tensors.items() if name not in (A, B)]
    return sum(added, SCALE * tensors[B].astype(np.float64) @ tensors[A])


def accuracy(tensors: Tensors, readout: Matrix, rows: Rows) -> float:
    """Share of rows whose class has the largest logit."""
    logits = (rows.inputs + rows.inputs @ product(tensors).T) @ readout.T
    return float((logits.argmax(axis=1) == rows.classes).mean())


def train(
    start: Start, trains: Sequence[str], readout: Matrix, rows: Rows, local: Local, seed: Sequence[int]
) -> Trained:
    """SGD on A and B from where the strategy lets a site start. NumPy's noise: no privacy is claimed."""
    generator = np.random.default_rng(list(seed))
    tensors = {name: tensor.astype(np.float64) for name, tensor in start.tensors.items()}
    batch = local.sampling_rate * len(rows)
    for _ in range(local.steps):
        drawn = rows.of(np.flatnonzero(generator.random(len(rows)) < local.sampling_rate))
        for name, gradient in gradients(tensors, trains, readout, drawn, local.noise is not None).items():
            noise = (local.noise or 0.0) * generator.normal(size=gradient.shape)
            tensors[name] = tensors[name] - local.step_size * (gradient + noise) / batch
    after = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    return Trained(after, 0.0, local.steps * len(rows), local.steps, local.step_size)


def gradients(
    tensors: Tensors, trains: Sequence[str], readout: Matrix, rows: Rows, clipped: bool
) -> dict[str, Matrix]:
    """Summed gradients of the cross-entropy; clipped ones have a norm of at most 1 for each row."""
    logits = (rows.inputs + rows.inputs @ product(tensors).T) @ readout.T
    logits -= logits.max(axis=1, keepdims=True)
    errors = np.exp(logits)
    errors /= errors.sum(axis=1, keepdims=True)
    errors[np.arange(len(rows)), rows.classes] -= 1
    outer = errors @ readout  # with respect to (I + W + s·B·A)·x
    inner = {A: (SCALE * outer @ tensors[B], rows.inputs), B: (SCALE * outer, rows.inputs @ tensors[A].T)}
    left_right = {name: inner[name] for name in trains}
    # The gradient of a row is an outer product, whose norm is the product of the norms.
    squares = sum(np.square(left).sum(1) * np.square(right).sum(1) for left, right in left_right.values())
    factors = 1 / np.maximum(np.sqrt(squares), 1) if clipped else np.ones(len(rows))
    return {name: (left * factors[:, None]).T @ right for name, (left, right) in left_right.items()}

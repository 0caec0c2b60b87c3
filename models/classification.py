"""Text classification: binary, multi-class and multi-label."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sealora.models.batch import Batch, padded_inputs
from sealora.models.labels import Labels
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.table import cell_text
from sealora.models.task import LOSS_UNITS, Cells, Counts, Example, Reader, Record, SumSpec, UnusableRow
from sealora.models.task_registry import BUILT_IN
from sealora.models.tokens import tokenised
from sealora.protocol.errors import DataError

MAX_ROWS = 2**24 - 1
"""Most rows of one site that are counted."""
MAX_LOSS = 2**6
"""A row's loss counts as at most this much in the reported mean."""
LEAST_NOISED_LOSS = 4.0
"""Under noise a row's loss counts as at most this, or twice that of guessing, whichever is more."""
BINS = 64
"""Bins of the score histogram behind the AUROC."""

Sums = Mapping[str, NDArray[np.float64]]


class Classification:
    """Softmax over the classes, or one sigmoid for each class if a text can carry several."""

    card = BUILT_IN["classification"].card
    headline = "accuracy"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self._index = {label: index for index, label in enumerate(settings.labels)}

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return len(self.settings.labels)

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Reads text and label; a row without a text, or without a label of the task, cannot be used."""
        labels = Labels(self.settings.labels, data.label_map, self.settings.multi_label)
        targets: dict[str, Any] = {}

        def read(cells: Cells) -> Record:
            text = (cell_text(cells["text_column"]) or "").strip()
            if not text:
                raise UnusableRow("empty_text")
            name = labels.name(cells["label_column"])
            if name is None:
                raise UnusableRow("missing_label")
            if name not in targets:
                targets[name] = self._target(name)
            if targets[name] is None:
                raise UnusableRow("unknown_label", name)
            return Record(text, targets[name], name)

        return read

    def _target(self, name: str) -> Any:
        try:
            return self.label(name)
        except DataError:
            return None

    def encode(self, records: Sequence[Record], tokenizer: Any) -> Iterator[tuple[Example, bool]]:
        """See Task. Special tokens are added."""
        texts = [str(record.content) for record in records]
        found = tokenised(texts, tokenizer, self.settings.max_length)
        for record, (tokens, cut) in zip(records, found, strict=True):
            yield Example(tokens, record.target), cut

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task."""
        ((tokens, _),) = tokenised([text], tokenizer, self.settings.max_length)
        return Example(tokens, None)

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """See Task: the labels come in turn."""
        labels = self.settings.labels
        return Example(tuple(tokens[: self.settings.max_length]), self.label(labels[number % len(labels)]))

    def label(self, raw: object) -> Any:
        """Class index, or a tuple of K zeros and ones if multi-label. Raises DataError if unknown."""
        if not self.settings.multi_label:
            return self._class(str(raw))
        chosen = {self._class(part) for part in str(raw).split("|") if part}
        return tuple(int(index in chosen) for index in range(self.classes))

    def _class(self, label: str) -> int:
        if label not in self._index:
            known = ", ".join(self.settings.labels)
            raise DataError(f"{label!r} is not a label of the task.", f"Labels: {known}.")
        return self._index[label]

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> Batch:
        """See Task. A text has always a row of its own; targets are as `target_tensor` has them."""
        inputs = padded_inputs([example.tokens for example in examples], tokenizer.pad_token_id or 0)
        # Without targets, for predictions, any will do.
        known = all(example.target is not None for example in examples)
        targets = self.target_tensor([e.target for e in examples]) if known else torch.empty(len(examples))
        return Batch(inputs, targets)

    def target_tensor(self, targets: Sequence[Any]) -> torch.Tensor:
        """int64 (batch,), or float32 (batch, K) if multi-label."""
        return torch.tensor(targets, dtype=torch.float32 if self.settings.multi_label else torch.int64)

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """Logits, shape (batch, K)."""
        logits: torch.Tensor = model(**batch.inputs).logits
        return logits

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each row, or the mean of its K binary cross-entropies."""
        logits = outputs.float()
        if self.settings.multi_label:
            return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)
        return functional.cross_entropy(logits, targets, reduction="none")

    def class_bias(self, targets: Sequence[Any]) -> torch.Tensor:
        """log p of each class, or its log odds if multi-label, with one row added to every count.

        Added to the logits in training, it leaves to the model what the frequencies do not explain (Menon
        et al. 2021, arXiv 2007.07314, equation 10; across sites: FedLC, Zhang et al. 2022, ICML).
        """
        counts = self._frequencies(targets)
        others = len(targets) - counts if self.settings.multi_label else sum(counts) + self.classes - 1
        return torch.from_numpy(np.log(counts + 1) - np.log(others + 1)).float()

    def _frequencies(self, targets: Sequence[Any]) -> NDArray[np.int64]:
        """Rows of each class, shape (K,)."""
        counts: NDArray[np.int64]
        if self.settings.multi_label:
            counts = np.array(targets, dtype=np.int64).reshape(-1, self.classes).sum(axis=0)
        else:
            counts = np.bincount(np.array(targets, dtype=np.int64), minlength=self.classes)
        return counts

    def sums(self) -> tuple[SumSpec, ...]:
        """Loss, rows, correct rows, a table of decisions, and the score histograms."""
        table = self.classes * (4 if self.settings.multi_label else self.classes)
        loss = min(MAX_LOSS, max(LEAST_NOISED_LOSS, 2 * math.log(self.classes))) * LOSS_UNITS
        # A row is in one bin for each class, and in one cell, or in one for each class if multi-label.
        each = math.sqrt(self.classes)
        return (
            SumSpec("loss", 1, MAX_ROWS * MAX_LOSS * LOSS_UNITS, loss),
            SumSpec("rows", 1, MAX_ROWS, 1),
            SumSpec("correct", 1, MAX_ROWS, 1),
            SumSpec("table", table, MAX_ROWS, each if self.settings.multi_label else 1),
            SumSpec("histogram", self.classes * 2 * BINS, MAX_ROWS, each),
        )

    def count(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Counts]:
        """Sums of one batch: see `sums`."""
        losses = torch.nan_to_num(self.losses(outputs, targets).double(), nan=MAX_LOSS).clamp(0, MAX_LOSS)
        scores = self._scores(outputs).numpy()
        truth = _as_matrix(targets, self.classes)
        chosen = _as_matrix(outputs.argmax(dim=1), self.classes)
        decided = scores >= 0.5 if self.settings.multi_label else chosen
        return {
            "loss": np.array([round(float(losses.sum()) * LOSS_UNITS)]),
            "rows": np.array([len(truth)]),
            "correct": np.array([int((truth == decided).all(axis=1).sum())]),
            "table": self._table(truth, decided),
            "histogram": _histogram(scores, truth),
        }

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        logits = torch.nan_to_num(logits.float()).cpu()
        return logits.sigmoid() if self.settings.multi_label else logits.softmax(dim=1)

    def _table(self, truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> Counts:
        """Confusion (true, decided), flattened; one 2 × 2 table for each class if multi-label."""
        if not self.settings.multi_label:
            return (truth.astype(np.int64).T @ decided.astype(np.int64)).reshape(-1)
        cells = [(truth == t) & (decided == d) for t in (False, True) for d in (False, True)]
        return np.stack([cell.sum(axis=0) for cell in cells], axis=1).reshape(-1)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Loss, accuracy (all classes right), macro-F1 and AUROC (binary: of the last class).

        Noised sums may be negative or not fit each other; what they give is held within its range.
        """
        rows = float(sums["rows"][0])
        if rows <= 0:
            return dict.fromkeys(("loss", "accuracy", "macro_f1", "auroc"), float("nan"))
        return {
            "loss": max(0.0, float(sums["loss"][0])) / LOSS_UNITS / rows,
            "accuracy": min(max(0.0, float(sums["correct"][0]) / rows), 1.0),
            "macro_f1": float(np.mean([row["f1"] for row in self.tables(sums)["classes"].values()])),
            "auroc": self._auroc(sums["histogram"].reshape(self.classes, 2, BINS)),
        }

    def tables(self, sums: Sums) -> dict[str, Any]:
        """Precision, recall, F1 and support by class, and the confusion (true, decided)."""
        table = np.maximum(sums["table"], 0)
        if self.settings.multi_label:
            _, false_positive, false_negative, true_positive = table.reshape(self.classes, 4).T
            confusion = None
        else:
            matrix = table.reshape(self.classes, self.classes)
            true_positive = np.diag(matrix)
            false_positive = matrix.sum(axis=0) - true_positive
            false_negative = matrix.sum(axis=1) - true_positive
            confusion = matrix.astype(int).tolist()
        classes = {
            label: scores_of(float(true_positive[i]), float(false_positive[i]), float(false_negative[i]))
            for i, label in enumerate(self.settings.labels)
        }
        return {"classes": classes, "confusion": confusion}

    def _auroc(self, histogram: NDArray[np.float64]) -> float:
        chosen = histogram if self.settings.multi_label or self.classes > 2 else histogram[-1:]
        areas = [_area(negatives, positives) for negatives, positives in chosen]
        known = [area for area in areas if not np.isnan(area)]
        return float(np.mean(known)) if known else float("nan")

    def predict(self, reader: Reader, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The label (or labels) and every class's probability for each example."""
        return self.predictions(reader.outputs(examples))

    def line(self, prediction: Mapping[str, Any]) -> str:
        """The labels, or the label and its probability."""
        if "labels" in prediction:
            return ", ".join(prediction["labels"]) or "(none)"
        return f"{prediction['label']}\t{prediction['scores'][prediction['label']]:.3f}"

    def predictions(self, logits: torch.Tensor) -> list[dict[str, Any]]:
        """See `predict`, from logits of shape (examples, K)."""
        predictions: list[dict[str, Any]] = []
        for row in self._scores(logits).tolist():
            scores = dict(zip(self.settings.labels, row, strict=True))
            if self.settings.multi_label:
                labels = [name for name, score in scores.items() if score >= 0.5]
                predictions.append({"labels": labels, "scores": scores})
            else:
                predictions.append({"label": max(scores, key=lambda name: scores[name]), "scores": scores})
        return predictions


def _as_matrix(targets: torch.Tensor, classes: int) -> NDArray[np.bool_]:
    """Truth by row and class, shape (batch, K)."""
    values = targets.cpu().numpy()
    return values > 0.5 if values.ndim == 2 else values[:, None] == np.arange(classes)


def _histogram(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> Counts:
    """Scores of negatives and positives by class in equal bins, shape (K · 2 · BINS,)."""
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    counts = np.zeros((scores.shape[1], 2, BINS), dtype=np.int64)
    np.add.at(counts, (np.arange(scores.shape[1])[None, :], truth.astype(np.int64), bins), 1)
    return counts.reshape(-1)


def _area(negatives: NDArray[np.float64], positives: NDArray[np.float64]) -> float:
    """AUROC from two histograms: P(positive's bin above negative's) + half the ties; NaN if one is empty."""
    if negatives.sum() <= 0 or positives.sum() <= 0:
        return float("nan")
    below = np.concatenate([[0.0], np.cumsum(negatives)[:-1]])
    area = float(((below + negatives / 2) @ positives) / (negatives.sum() * positives.sum()))
    return min(max(0.0, area), 1.0)


def scores_of(true_positive: float, false_positive: float, false_negative: float) -> dict[str, float]:
    """Precision, recall, F1 (0 where undefined) and support."""
    return {
        "precision": true_positive / max(true_positive + false_positive, 1),
        "recall": true_positive / max(true_positive + false_negative, 1),
        "f1": 2 * true_positive / max(2 * true_positive + false_positive + false_negative, 1),
        "support": true_positive + false_negative,
    }

"""Token classification: a tag for every word, and the named entities that the tags spell."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sealora.models.batch import Batch, padded, padded_inputs
from sealora.models.classification import LEAST_NOISED_LOSS, MAX_LOSS, MAX_ROWS, scores_of
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.tags import SCHEMES, Entity, Tag, TagOptions, entities, strict_entities
from sealora.models.task import LOSS_UNITS, Cells, Counts, Example, Reader, Record, SumSpec
from sealora.models.task_registry import BUILT_IN
from sealora.models.word_tags import IGNORED, WordTags, encode_text, encode_words, read_tags, read_words
from sealora.protocol.errors import PlanError

NOISED_WORDS = 64
"""Under noise a row's words and right words count as at most this, as an L2 norm."""
NOISED_ENTITIES = 8
"""Under noise a row's true, predicted and right entities count as at most this, as an L2 norm."""
READINGS = ("entities", "strict_entities")
METRICS = ("loss", "f1", "precision", "recall", "strict_f1", "accuracy")

Sums = Mapping[str, NDArray[np.float64]]


class TokenClassification:
    """Softmax over the tags of each word, read at the word's first token."""

    card = BUILT_IN["token_classification"].card
    headline = "f1"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self._scheme = SCHEMES[TagOptions.model_validate(settings.options).scheme]
        known = self._scheme.tags(settings.labels)
        self._tags = list(known.values())
        self._index = {name: index for index, name in enumerate(known)}
        self._type = {name: index for index, name in enumerate(settings.labels)}

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Words and tags; rows are counted and split by the types that are in them."""

        def read(cells: Cells) -> Record:
            words = read_words(cells["tokens_column"])
            tags = read_tags(cells["tags_column"], len(words), self._index, data.label_map)
            types = {self._tags[tag].type for tag in tags} - {""}
            return Record(words, tags, "|".join(sorted(types)) or "no entity")

        return read

    def encode(self, records: Sequence[Record], tokenizer: Any) -> Iterator[tuple[Example | None, bool]]:
        """See Task."""
        return encode_words(records, tokenizer, self.settings.max_length)

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task."""
        return encode_text(text, tokenizer, self.settings.max_length)

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """See Task."""
        chosen = tuple(tokens[: self.settings.max_length])
        tags = tuple((number + place) % len(self._tags) for place in range(len(chosen)))
        return Example(chosen, WordTags(tags))

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> Batch:
        """Targets are int64 (examples, longest)."""
        tokens = padded_inputs([example.tokens for example in examples], tokenizer.pad_token_id or 0)
        return Batch(tokens, padded([example.target.tags for example in examples], IGNORED))

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """Logits of every tag at every token, shape (examples, longest, tags)."""
        logits: torch.Tensor = model(**batch.inputs).logits
        return logits

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of each row's words, so that a long row counts as much as a short one."""
        each = functional.cross_entropy(
            outputs.float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
        )
        return each.sum(dim=1) / (targets != IGNORED).sum(dim=1).clamp(min=1)

    def class_bias(self, targets: Sequence[Any]) -> torch.Tensor:
        """Raises PlanError."""
        raise PlanError(
            "token_classification has no label calibration.", "Remove training.label_calibration."
        )

    def sums(self) -> tuple[SumSpec, ...]:
        """Loss; rows; words and right ones; and for each type entities: true, predicted, and both at once."""
        words = MAX_ROWS * self.settings.max_length
        types = 3 * len(self.settings.labels)
        loss = min(MAX_LOSS, max(LEAST_NOISED_LOSS, 2 * math.log(len(self._tags)))) * LOSS_UNITS
        return (
            SumSpec("loss", 1, MAX_ROWS * MAX_LOSS * LOSS_UNITS, loss),
            SumSpec("rows", 1, MAX_ROWS, 1),
            SumSpec("words", 2, words, NOISED_WORDS),
            SumSpec("entities", types, words, NOISED_ENTITIES),
            SumSpec("strict_entities", types, words, NOISED_ENTITIES),
        )

    def count(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Counts]:
        """Sums of one batch: see `sums`."""
        losses = torch.nan_to_num(self.losses(outputs, targets).double(), nan=MAX_LOSS).clamp(0, MAX_LOSS)
        decided, truth = _decided(outputs).numpy(), targets.cpu().numpy()
        words = truth != IGNORED
        rows = [(true[here], mine[here]) for true, mine, here in zip(truth, decided, words, strict=True)]
        return {
            "loss": np.array([round(float(losses.sum()) * LOSS_UNITS)]),
            "rows": np.array([len(truth)]),
            "words": np.array([words.sum(), (words & (truth == decided)).sum()]),
            **{name: self._entity_counts(name, rows) for name in READINGS},
        }

    def _entity_counts(
        self, reading: str, rows: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ) -> Counts:
        """True, predicted and right entities of each type, shape (types · 3,)."""
        counts = np.zeros((len(self._type), 3), dtype=np.int64)
        for true, mine in rows:
            expected, found = self._read(reading, true), self._read(reading, mine)
            for column, some in enumerate((expected, found, set(expected) & set(found))):
                for entity in some:
                    counts[self._type[entity.type], column] += 1
        return counts.reshape(-1)

    def _read(self, reading: str, indices: Sequence[int] | NDArray[np.int64]) -> list[Entity]:
        tags: list[Tag] = [self._tags[index] for index in indices]
        return entities(tags) if reading == "entities" else strict_entities(tags, self._scheme)

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Loss; F1, precision and recall of all entities together; their F1 read strictly; right tags' share.

        Noised sums may be negative or not fit each other; what they give is held within its range.
        """
        rows, words = float(sums["rows"][0]), float(sums["words"][0])
        if rows <= 0 or words <= 0:
            return dict.fromkeys(METRICS, float("nan"))
        micro, strict = (_scores(sums[name].reshape(-1, 3).sum(axis=0)) for name in READINGS)
        return {
            "loss": max(0.0, float(sums["loss"][0])) / LOSS_UNITS / rows,
            "f1": micro["f1"],
            "precision": micro["precision"],
            "recall": micro["recall"],
            "strict_f1": strict["f1"],
            "accuracy": min(max(0.0, float(sums["words"][1]) / words), 1.0),
        }

    def tables(self, sums: Sums) -> dict[str, Any]:
        """Precision, recall, F1 and support by type of entity, read leniently and strictly."""
        lenient, strict = (
            dict(zip(self.settings.labels, map(_scores, sums[name].reshape(-1, 3)), strict=True))
            for name in READINGS
        )
        return {"classes": lenient, "strict_classes": strict}

    def predict(self, reader: Reader, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The entities of each text: type, text, place in characters, and mean probability of their tags."""
        outputs = torch.nan_to_num(reader.outputs(examples).float())
        return [self._prediction(*row) for row in zip(outputs, examples, strict=True)]

    def _prediction(self, logits: torch.Tensor, example: Example) -> dict[str, Any]:
        target: WordTags = example.target
        firsts = [place for place, tag in enumerate(target.tags) if tag != IGNORED]
        scores, decided = logits[firsts].softmax(dim=1).max(dim=1)
        return {
            "entities": [
                self._shown(target, entity, scores) for entity in self._read("entities", decided.tolist())
            ]
        }

    def _shown(self, target: WordTags, entity: Entity, scores: torch.Tensor) -> dict[str, Any]:
        start, end = target.words[entity.start][0], target.words[entity.end - 1][1]
        score = float(scores[entity.start : entity.end].mean())
        return {
            "type": entity.type,
            "text": target.text[start:end],
            "start": start,
            "end": end,
            "score": score,
        }

    def line(self, prediction: Mapping[str, Any]) -> str:
        """See Task."""
        return ", ".join(f"{found['text']} [{found['type']}]" for found in prediction["entities"]) or "(none)"


def _decided(logits: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(logits.float()).argmax(dim=2).cpu()


def _scores(counts: NDArray[np.float64]) -> dict[str, float]:
    """Of entities that are true, predicted, and both at once."""
    true, predicted, both = np.maximum(counts, 0).tolist()
    return scores_of(both, max(predicted - both, 0.0), max(true - both, 0.0))

"""Continued pretraining on texts without labels: of causal language models, and of masked ones."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sealora.models.batch import Batch
from sealora.models.causal import CausalTask, learnt
from sealora.models.language_settings import CAUSAL_PRETRAINING, MASKED_PRETRAINING, MaskedOptions
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.table import cell_text
from sealora.models.task import Cells, Example, Reader, Record, UnusableRow
from sealora.models.token_metrics import TokenMetrics
from sealora.models.token_scores import Scored, apart, mean_losses, token_scores
from sealora.models.tokens import encodings, tokenised
from sealora.protocol.errors import PlanError, UsageError

CANDIDATES = 5
"""Words told for each mask."""
KEPT, REPLACED = 0.1, 0.1
"""Shares of the chosen tokens that stay as they are, and that become any other."""


def read_text(cells: Cells) -> Record:
    """A row's text. Raises UnusableRow if there is none."""
    text = (cell_text(cells["text_column"]) or "").strip()
    if not text:
        raise UnusableRow("empty_text")
    return Record(text)


class CausalPretraining(CausalTask):
    """Every token of a text is learnt but the first, and the end of the text."""

    card = CAUSAL_PRETRAINING

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Reads texts."""
        return read_text

    def encode(self, records: Sequence[Record], tokenizer: Any) -> Iterator[tuple[Example | None, bool]]:
        """See Task. A text that is not cut ends with the tokenizer's end token."""
        end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        longest = self.settings.max_length
        for encoding in encodings([str(record.content) for record in records], tokenizer):
            tokens = tuple([*encoding.ids, *end][:longest])
            places = tuple(range(1, len(tokens)))
            yield learnt(tokens, places) if places else None, len(encoding.ids) + len(end) > longest

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task. Of a text that is too long the end is kept."""
        (encoding,) = encodings([text], tokenizer)
        return Example(tuple(encoding.ids[-self.settings.max_length :]), ())


class MaskedPretraining(TokenMetrics):
    """Some tokens are hidden, others in every round, and predicted from the rest (arXiv 1810.04805, 3.1).

    An example's target is the places of the tokens that may be hidden, its weight how many are at a time.
    """

    card = MASKED_PRETRAINING

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.options = MaskedOptions.model_validate(settings.options)

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Reads texts."""
        return read_text

    def encode(self, records: Sequence[Record], tokenizer: Any) -> Iterator[tuple[Example | None, bool]]:
        """See Task. Tokens that frame a text are never hidden."""
        special = set(tokenizer.all_special_ids)
        texts = [str(record.content) for record in records]
        for tokens, cut in tokenised(texts, tokenizer, self.settings.max_length):
            places = tuple(place for place, token in enumerate(tokens) if token not in special)
            yield self._example(tokens, places) if places else None, cut

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task. The target is the places of the masks. Raises UsageError for a text without."""
        ((tokens, _),) = tokenised([text], tokenizer, self.settings.max_length)
        places = tuple(place for place, token in enumerate(tokens) if token == tokenizer.mask_token_id)
        if not places:
            raise UsageError(
                "the text has no word to fill in.", f"Write {tokenizer.mask_token} in place of each."
            )
        return Example(tokens, places)

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """See Task."""
        chosen = tuple(tokens[: self.settings.max_length])
        return self._example(chosen, tuple(range(len(chosen))))

    def _example(self, tokens: tuple[int, ...], places: tuple[int, ...]) -> Example:
        return Example(tokens, places, weight=float(self._hidden(len(places))))

    def _hidden(self, places: int) -> int:
        """Tokens that are hidden of so many."""
        return max(1, round(self.options.masked * places))

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> Batch:
        """See Task. Texts are never packed. Targets are the hidden tokens, int64 (examples, most of them)."""
        return apart(
            [self._masked(example, tokenizer, seed) for example in examples], tokenizer.pad_token_id or 0
        )

    def _masked(self, example: Example, tokenizer: Any, seed: bytes) -> Scored:
        """Eight of ten chosen tokens become the mask, one any token, and one stays."""
        draw = _generator(seed, example.tokens)
        places = sorted(
            draw.choice(example.target, self._hidden(len(example.target)), replace=False).tolist()
        )
        tokens = list(example.tokens)
        for place, kind in zip(places, draw.random(len(places)), strict=True):
            if kind >= KEPT + REPLACED:
                tokens[place] = tokenizer.mask_token_id
            elif kind >= KEPT:
                tokens[place] = int(draw.integers(len(tokenizer)))
        return Scored(tokens, places, [example.tokens[place] for place in places])

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """See `token_scores`."""
        return token_scores(model, batch)

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of every example's hidden tokens."""
        return mean_losses(outputs, targets)

    def class_bias(self, targets: Sequence[Any]) -> torch.Tensor:
        """Raises PlanError: there are no classes."""
        raise PlanError("a language model has no classes.", "Write training.label_calibration = 0.0.")

    def predict(self, reader: Reader, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The likeliest tokens in place of each mask, with their probabilities."""
        return [self._filled(reader, example) for example in examples]

    def _filled(self, reader: Reader, example: Example) -> dict[str, Any]:
        tokens = torch.tensor([example.tokens], device=reader.model.device)
        with torch.inference_mode():
            logits = reader.model(input_ids=tokens).logits[0, list(example.target)]
        scores, words = logits.float().softmax(dim=-1).cpu().topk(CANDIDATES)
        return {
            "masks": [
                dict(zip(reader.tokenizer.convert_ids_to_tokens(row.tolist()), found.tolist(), strict=True))
                for row, found in zip(words, scores, strict=True)
            ]
        }

    def line(self, prediction: Mapping[str, Any]) -> str:
        """The likeliest token for each mask."""
        return " ".join(max(mask, key=lambda word: mask[word]) for mask in prediction["masks"])


def _generator(seed: bytes, tokens: Sequence[int]) -> np.random.Generator:
    """The same draws for the same text and seed, in whatever batch."""
    digest = hashlib.sha256(seed + np.array(tokens, dtype="<i8").tobytes()).digest()
    return np.random.default_rng(list(digest))

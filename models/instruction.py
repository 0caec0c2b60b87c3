"""Instruction tuning of causal language models: the tokens of answers are learnt, given what came before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from sealora.models.batch import Batch
from sealora.models.chat import ChatFormat, read_conversation, tokens_within
from sealora.models.generation import generated
from sealora.models.language_settings import INSTRUCTION_TUNING, InstructionOptions
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.task import Cells, Example, Reader, Record
from sealora.models.token_metrics import TokenMetrics
from sealora.models.token_scores import Scored, apart, mean_losses, packed, token_scores
from sealora.models.tokens import encodings
from sealora.protocol.errors import PlanError


class InstructionTuning(TokenMetrics):
    """An example's target is the places of its answers' tokens, each learnt from the tokens before it."""

    card = INSTRUCTION_TUNING

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        self.options = InstructionOptions.model_validate(settings.options)

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Reads conversations, or prompts and responses."""
        return lambda cells: Record(read_conversation(cells, data))

    def encode(self, records: Sequence[Record], tokenizer: Any) -> Iterator[tuple[Example | None, bool]]:
        """See Task. Of a conversation that is too long the beginning is kept, if an answer is in it."""
        chat = ChatFormat(tokenizer, self.options.system)
        written = [chat.written(record.content) for record in records]  # type: ignore[arg-type]
        longest = self.settings.max_length
        found = encodings([text for text, _ in written], tokenizer)
        for (_, spans), encoding in zip(written, found, strict=True):
            places = tokens_within(encoding.offsets[:longest], spans)
            example = Example(tuple(encoding.ids[:longest]), places, weight=float(len(places)))
            yield example if places else None, len(encoding.ids) > longest

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task. Of a text that is too long the end is kept."""
        chat = ChatFormat(tokenizer, self.options.system)
        (encoding,) = encodings([chat.prompt((("user", text),))], tokenizer)
        return Example(tuple(encoding.ids[-self.settings.max_length :]), ())

    def synthetic(self, tokens: Sequence[int], number: int) -> Example:
        """See Task: the answer begins in the middle."""
        chosen = tuple(tokens[: self.settings.max_length])
        places = tuple(range(max(1, len(chosen) // 2), len(chosen)))
        return Example(chosen, places, weight=float(len(places)))

    def collate(self, examples: Sequence[Example], tokenizer: Any, seed: bytes, packed: bool) -> Batch:
        """See Task. Targets are the answers' tokens, int64 (examples, most of them)."""
        padding = tokenizer.pad_token_id or 0
        return causal_batch(examples, padding, self.settings.max_length, packed and self.options.packing)

    def forward(self, model: Any, batch: Batch) -> torch.Tensor:
        """See `token_scores`."""
        return token_scores(model, batch)

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of every answer's tokens; by weight their mean is that of all tokens."""
        return mean_losses(outputs, targets)

    def class_bias(self, targets: Sequence[Any]) -> torch.Tensor:
        """Raises PlanError: there are no classes."""
        raise PlanError("a language model has no classes.", "Write training.label_calibration = 0.0.")

    def predict(self, reader: Reader, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The likeliest answer, token by token, to each example."""
        texts = generated(reader, [example.tokens for example in examples], self.options.max_new_tokens)
        return [{"response": text} for text in texts]

    def line(self, prediction: Mapping[str, Any]) -> str:
        """The answer in one line."""
        return " ".join(str(prediction["response"]).split())


def causal_batch(examples: Sequence[Example], padding: int, width: int, together: bool) -> Batch:
    """Examples whose targets are places of tokens, each to be predicted from the place before."""
    sequences = [
        Scored(e.tokens, [place - 1 for place in e.target], [e.tokens[place] for place in e.target])
        for e in examples
    ]
    return packed(sequences, padding, width) if together else apart(sequences, padding)

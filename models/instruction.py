"""Instruction tuning of causal language models: the tokens of answers are learnt, given what came before."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sealora.models.causal import CausalTask, learnt
from sealora.models.chat import ChatFormat, read_conversation, tokens_within
from sealora.models.language_settings import INSTRUCTION_TUNING, InstructionOptions
from sealora.models.settings import DataSettings
from sealora.models.task import Cells, Example, Record
from sealora.models.tokens import encodings


class InstructionTuning(CausalTask):
    """Of a conversation, what the assistant says is learnt, each time with its end."""

    card = INSTRUCTION_TUNING
    options: InstructionOptions
    options_class = InstructionOptions

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
            example = learnt(tuple(encoding.ids[:longest]), places) if places else None
            yield example, len(encoding.ids) > longest

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task. Of a text that is too long the end is kept."""
        chat = ChatFormat(tokenizer, self.options.system)
        (encoding,) = encodings([chat.prompt((("user", text),))], tokenizer)
        return Example(tuple(encoding.ids[-self.settings.max_length :]), ())

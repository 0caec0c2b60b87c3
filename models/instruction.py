"""Instruction tuning of causal language models: the tokens of answers are learnt, given what came before."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sealora.models.causal import CausalTask, learnt
from sealora.models.chat import ChatFormat, read_conversation, tokens_within, written_where_possible
from sealora.models.language_settings import INSTRUCTION_TUNING, InstructionOptions
from sealora.models.settings import DataSettings
from sealora.models.task import Cells, Example, Record, UnusableRow
from sealora.models.tokens import encodings


class InstructionTuning(CausalTask):
    """Of a conversation, what the assistant says is learnt, each time with its end."""

    card = INSTRUCTION_TUNING
    options: InstructionOptions
    options_class = InstructionOptions

    def reader(self, data: DataSettings) -> Callable[[Cells], Record]:
        """Reads conversations, or prompts and responses."""
        return lambda cells: Record(read_conversation(cells, data))

    def encode(
        self, records: Sequence[Record], tokenizer: Any
    ) -> Iterator[tuple[Example | UnusableRow | None, bool]]:
        """See Task. Of a conversation that is too long the beginning is kept, if an answer is in it."""
        chat = ChatFormat(tokenizer, self.options.system)
        written = written_where_possible(lambda record: chat.written(record.content), records)  # type: ignore[arg-type]
        longest = self.settings.max_length
        found = encodings([one[0] for one in written if not isinstance(one, UnusableRow)], tokenizer)
        for one in written:
            if isinstance(one, UnusableRow):
                yield one, False
                continue
            spans, encoding = one[1], next(found)
            places = tokens_within(encoding.offsets[:longest], spans)
            example = learnt(tuple(encoding.ids[:longest]), places) if places else None
            yield example, len(encoding.ids) > longest

    def prompt(self, text: str, tokenizer: Any) -> Example:
        """See Task. Of a text that is too long the end is kept."""
        chat = ChatFormat(tokenizer, self.options.system)
        (encoding,) = encodings([chat.prompt((("user", text),))], tokenizer)
        return Example(tuple(encoding.ids[-self.settings.max_length :]), ())

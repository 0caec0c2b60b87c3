"""Conversations as a chat template writes them, and which of their characters are the model's answers."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from jinja2 import TemplateError

from sealora.models.settings import DataSettings
from sealora.models.table import cell_text
from sealora.models.task import Cells, Record, UnusableRow
from sealora.protocol.errors import ModelError

Conversation = tuple[tuple[str, str], ...]
"""(role, content) of every message in order."""
T = TypeVar("T")
Span = tuple[int, int]
"""From and to, in characters or in tokens."""

ROLES = ("system", "user", "assistant")
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
"""For models that bring no chat template of their own."""


def read_conversation(cells: Cells, data: DataSettings) -> Conversation:
    """The conversation in a row's cells. Raises UnusableRow."""
    if data.messages_column:
        return _messages(cells["messages_column"])
    prompt, response = (_text(cells[key]) for key in ("prompt_column", "response_column"))
    if not prompt:
        raise UnusableRow("empty_prompt")
    if not response:
        raise UnusableRow("empty_response")
    context = _text(cells.get("context_column"))
    return (("user", f"{prompt}\n\n{context}" if context else prompt), ("assistant", response))


def read_pair(cells: Cells, data: DataSettings) -> tuple[Conversation, str, str]:
    """What is asked, the better answer and the worse. Raises UnusableRow.

    An answer is a text, or a list of messages that ends with it.
    """
    if data.messages_column:
        asked = _messages(cells["messages_column"], last="user")
    elif prompt := _text(cells["prompt_column"]):
        context = _text(cells.get("context_column"))
        asked = (("user", f"{prompt}\n\n{context}" if context else prompt),)
    else:
        raise UnusableRow("empty_prompt")
    chosen, rejected = (_answer(cells[key]) for key in ("chosen_column", "rejected_column"))
    if not chosen or not rejected:
        raise UnusableRow("empty_response")
    if chosen == rejected:
        raise UnusableRow("two equal answers")
    return asked, chosen, rejected


def _answer(cell: object) -> str:
    return _messages(cell)[-1][1] if isinstance(cell, list) else _text(cell)


def _messages(cell: object, last: str = "assistant") -> Conversation:
    """A list of messages, or its JSON text. Raises UnusableRow unless it ends with the role `last`."""
    try:
        found = json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        raise UnusableRow("bad_messages") from None
    if not isinstance(found, list) or not all(isinstance(message, Mapping) for message in found):
        raise UnusableRow("bad_messages")
    messages = tuple((str(m.get("role")), _text(m.get("content"))) for m in found)
    if not messages or messages[-1][0] != last:
        raise UnusableRow("bad_messages")
    if not all(role in ROLES and content for role, content in messages):
        raise UnusableRow("bad_messages")
    return messages


def _text(cell: object) -> str:
    return (cell_text(cell) or "").strip()


class ChatFormat:
    """A tokenizer's chat template, after a system message if there is one."""

    def __init__(self, tokenizer: Any, system: str) -> None:
        self._tokenizer = tokenizer
        self._template = None if tokenizer.chat_template else PLAIN_TEMPLATE
        self._system: Conversation = (("system", system),) if system else ()

    def prompt(self, conversation: Conversation) -> str:
        """The conversation up to where the model's answer begins."""
        return self._render(self._begun(conversation), answer=True)

    def written(self, conversation: Conversation) -> tuple[str, list[Span]]:
        """The whole conversation, and where in it the answers are, each with its end-of-turn token.

        Raises ModelError for a template that writes an answer otherwise than after its prompt.
        """
        messages = self._begun(conversation)
        whole = self._render(messages)
        spans = []
        for number, (role, _) in enumerate(messages):
            if role == "assistant":
                before = self._render(messages[:number], answer=True)
                after = self._render(messages[: number + 1]).rstrip()
                if not (after.startswith(before) and whole.startswith(after)):
                    raise ModelError(
                        "the model's chat template does not write conversations from front to back.",
                        "Save the tokenizer with a simpler chat_template.",
                    )
                spans.append((len(before), len(after)))
        return whole, spans

    def _begun(self, conversation: Conversation) -> Conversation:
        return conversation if conversation[0][0] == "system" else (*self._system, *conversation)

    def _render(self, messages: Conversation, answer: bool = False) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                [{"role": role, "content": content} for role, content in messages],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=answer,
            )
        except TemplateError as error:
            raise ModelError(
                f"the model's chat template refuses a conversation: {error}",
                "Let user and assistant take turns, and write no task.options.system.",
            ) from None
        return text


def written_where_possible(write: Callable[[Record], T], records: Sequence[Record]) -> list[T | UnusableRow]:
    """What `write` makes of each record, or that the template does not take it.

    Raises ModelError if it takes none: then the template is at fault, or how the task uses it.
    """
    found: list[T | UnusableRow] = []
    refused: list[ModelError] = []
    for record in records:
        try:
            found.append(write(record))
        except ModelError as error:
            refused.append(error)
            found.append(UnusableRow("bad_turns"))
    if refused and len(refused) == len(records):
        raise refused[0]
    return found


def tokens_within(offsets: Sequence[Span], spans: Sequence[Span]) -> tuple[int, ...]:
    """Places of the tokens whose first character lies in one of the spans; the first token is never one."""
    found = []
    for place, (start, stop) in enumerate(offsets):
        if place and stop > start and any(begin <= start < end for begin, end in spans):
            found.append(place)
    return tuple(found)

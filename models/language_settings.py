"""Options and cards of the tasks of language models; needs no torch."""

from typing import Annotated, Any

from pydantic import Field

from sealora.models.task_card import TaskCard
from sealora.protocol.settings import Settings


class InstructionOptions(Settings):
    """`[task.options]` of `instruction_tuning`."""

    system: str = ""
    """What the model is told before every conversation; empty leaves it to the model's chat template."""
    packing: bool = True
    """Whether short conversations share a row of `max_length` tokens, none of which sees another; never
    with a privacy guarantee, where each is clipped by itself."""
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 64
    """Longest answer in tokens that `sealora predict` generates."""


def conversation_columns(data: Any) -> tuple[str, ...]:
    """Whole conversations, or prompts, what they refer to, and responses."""
    if data.messages_column:
        return ("messages_column",)
    context = ("context_column",) if data.context_column else ()
    return ("prompt_column", *context, "response_column")


INSTRUCTION_TUNING = TaskCard(
    summary="To answer prompts: the response's tokens are learnt, given those of the prompt.",
    head="causal_lm",
    columns=conversation_columns,
    options_class=InstructionOptions,
)

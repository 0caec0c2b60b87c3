"""Options and cards of the tasks of language models; needs no torch."""

from typing import Annotated, Any

from pydantic import Field

from sealora.models.task_card import TaskCard
from sealora.protocol.settings import Settings


class CausalOptions(Settings):
    """`[task.options]` of a causal language model's task."""

    packing: bool = True
    """Whether short texts share a row of `max_length` tokens, where none sees another; never with a privacy
    guarantee, since each is then clipped by itself."""
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 64
    """Most tokens that `sealora predict` generates."""


class InstructionOptions(CausalOptions):
    """`[task.options]` of `instruction_tuning`."""

    system: str = ""
    """What the model is told before every conversation; empty leaves it to the model's chat template."""


class MaskedOptions(Settings):
    """`[task.options]` of `masked_pretraining`."""

    masked: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of a text's tokens that are hidden at a time."""


def conversation_columns(data: Any) -> tuple[str, ...]:
    """Whole conversations, or prompts, what they refer to, and responses."""
    if data.messages_column:
        return ("messages_column",)
    context = ("context_column",) if data.context_column else ()
    return ("prompt_column", *context, "response_column")


def text_alone(_: Any) -> tuple[str, ...]:
    """A text without a label."""
    return ("text_column",)


INSTRUCTION_TUNING = TaskCard(
    summary="To answer prompts: the response's tokens are learnt, given those of the prompt.",
    head="causal_lm",
    columns=conversation_columns,
    options_class=InstructionOptions,
)
CAUSAL_PRETRAINING = TaskCard(
    summary="To go on with texts: every token is learnt, given those before it.",
    head="causal_lm",
    columns=text_alone,
    options_class=CausalOptions,
)
MASKED_PRETRAINING = TaskCard(
    summary="To fill in words that are hidden, given the rest of the text.",
    head="masked_lm",
    columns=text_alone,
    options_class=MaskedOptions,
)

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


class PreferenceOptions(Settings):
    """`[task.options]` of `preference_tuning`."""

    system: str = ""
    """What the model is told before every conversation; empty leaves it to the model's chat template."""
    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the base holds the model back: a pair's loss falls with β times the change of its odds."""
    max_new_tokens: Annotated[int, Field(ge=1, le=8192)] = 64
    """Longest answer in tokens that `sealora predict` generates."""


def conversation_columns(data: Any) -> tuple[str, ...]:
    """Whole conversations, or prompts, what they refer to, and responses."""
    if data.messages_column:
        return ("messages_column",)
    context = ("context_column",) if data.context_column else ()
    return ("prompt_column", *context, "response_column")


def text_alone(_: Any) -> tuple[str, ...]:
    """A text without a label."""
    return ("text_column",)


def pair_columns(data: Any) -> tuple[str, ...]:
    """What is asked, as a conversation or a prompt, and two answers."""
    asked = ("messages_column",) if data.messages_column else ("prompt_column",)
    context = ("context_column",) if data.context_column and not data.messages_column else ()
    return (*asked, *context, "chosen_column", "rejected_column")


INSTRUCTION_TUNING = TaskCard(
    summary="To answer prompts: the response's tokens are learnt, given those of the prompt.",
    head="causal_lm",
    columns=conversation_columns,
    options_class=InstructionOptions,
    sample="A question of your own.",
)
CAUSAL_PRETRAINING = TaskCard(
    summary="To go on with texts: every token is learnt, given those before it.",
    head="causal_lm",
    columns=text_alone,
    options_class=CausalOptions,
    sample="A text to go on with",
)
MASKED_PRETRAINING = TaskCard(
    summary="To fill in words that are hidden, given the rest of the text.",
    head="masked_lm",
    columns=text_alone,
    options_class=MaskedOptions,
    sample="A [MASK] of your own.",
)

PREFERENCE_TUNING = TaskCard(
    summary="Of two answers to a prompt, the better one becomes likelier (DPO).",
    head="causal_lm",
    columns=pair_columns,
    options_class=PreferenceOptions,
    sample="A question of your own.",
    sequences=2,
    reference=True,
)

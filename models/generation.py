"""Generating text: greedy, so that the same model and prompt give the same answer."""

from collections.abc import Sequence

import torch

from sealora.models.batch import padded
from sealora.models.task import Reader


def generated(reader: Reader, prompts: Sequence[Sequence[int]], most: int) -> list[str]:
    """The likeliest next tokens of each prompt, at most `most`, up to an end token, as text."""
    model, tokenizer = reader.model, reader.tokenizer
    padding = tokenizer.pad_token_id or 0
    # Padded at the left, so that every answer begins right after its prompt.
    tokens = padded([prompt[::-1] for prompt in prompts], padding).flip(1)
    mask = padded([[1] * len(prompt) for prompt in prompts], 0).flip(1)
    with torch.inference_mode():
        found = model.generate(
            input_ids=tokens.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=most,
            do_sample=False,
            pad_token_id=padding,
        )
    answers = found[:, tokens.shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]

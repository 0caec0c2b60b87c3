"""Texts to token ids by a fast tokenizer."""

from collections.abc import Iterator, Sequence
from typing import Any

BATCH = 1024
"""Texts tokenised at once."""


def tokenised(
    texts: Sequence[str], tokenizer: Any, max_length: int, special: bool = True
) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Token ids of every text, at most `max_length`, and whether the text was longer.

    `special` adds the tokens that frame a text, such as [CLS] and [SEP].
    """
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            list(texts[start : start + BATCH]),
            truncation=True,
            max_length=max_length,
            add_special_tokens=special,
        )
        for encoding in batch.encodings:
            yield tuple(encoding.ids), bool(encoding.overflowing)

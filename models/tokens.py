"""Texts to token ids by a fast tokenizer."""

from collections.abc import Iterator, Sequence
from typing import Any

BATCH = 1024
"""Texts tokenised at once."""


def tokenised(
    texts: Sequence[str], tokenizer: Any, max_length: int
) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Token ids of every text, special ones added, at most `max_length`; and whether it was longer."""
    options = {"truncation": True, "max_length": max_length, "add_special_tokens": True}
    for encoding in encodings(texts, tokenizer, **options):
        yield tuple(encoding.ids), bool(encoding.overflowing)


def encodings(texts: Sequence[str], tokenizer: Any, **options: Any) -> Iterator[Any]:
    """What the fast tokenizer finds in every text: `ids`, and the `offsets` of their characters.

    No special tokens are added unless the options say so.
    """
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        yield from tokenizer(batch, **{"add_special_tokens": False, "verbose": False, **options}).encodings

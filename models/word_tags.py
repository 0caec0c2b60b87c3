"""Words and their tags: from a table's cells to tokens of which some begin a word."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealora.models.table import cell_text
from sealora.models.task import Example, Record, UnusableRow

IGNORED = -100
"""Tag of a token that does not begin a word."""
BATCH = 1024
"""Rows tokenised at once."""


@dataclass(frozen=True)
class WordTags:
    """The target of a row: a tag for each token that begins a word, `IGNORED` for each other.

    To show entities it also has the text, and where in it each of these words is. Contents stay out of
    the repr.
    """

    tags: tuple[int, ...]
    text: str = field(default="", repr=False)
    words: tuple[tuple[int, int], ...] = ()


def read_words(cell: object) -> tuple[str, ...]:
    """The words, or tags, of a cell: a list, or a text with spaces between them.

    Raises UnusableRow if there are none, or if one is missing.
    """
    parts = (cell_text(cell) or "").split() if not isinstance(cell, (list, tuple)) else cell
    words = [cell_text(part) for part in parts]
    found = tuple(word for word in words if word is not None)
    if not found or len(found) < len(words):
        raise UnusableRow("empty_text")
    return found


def read_tags(
    cell: object, words: int, index: Mapping[str, int], spelled: Mapping[str, str]
) -> tuple[int, ...]:
    """The tags of a cell as their indices; `spelled` renames those that a site spells otherwise.

    Raises UnusableRow unless there is a known one for each word.
    """
    try:
        names = [spelled.get(name, name) for name in read_words(cell)]
    except UnusableRow:
        raise UnusableRow("missing_label") from None
    for name in names:
        if name not in index:
            raise UnusableRow("unknown_label", name)
    if len(names) != words:
        raise UnusableRow("bad_tags")
    return tuple(index[name] for name in names)


def encode_words(
    records: Sequence[Record], tokenizer: Any, max_length: int
) -> Iterator[tuple[Example | None, bool]]:
    """Each record, whose content is words and whose target is their tags, as an example; see Task.encode.

    A word that the tokenizer makes nothing of, such as a lone variation selector, is passed over.
    """
    for start in range(0, len(records), BATCH):
        some = records[start : start + BATCH]
        contents: list[Any] = [record.content for record in some]
        encodings = tokenizer(
            [list(words) for words in contents],
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
        ).encodings
        for record, encoding in zip(some, encodings, strict=True):
            tags = tuple(
                IGNORED if word is None else record.target[word] for word in _begun(encoding.word_ids)
            )
            usable = any(tag != IGNORED for tag in tags)
            example = Example(tuple(encoding.ids), WordTags(tags)) if usable else None
            yield example, bool(encoding.overflowing)


def encode_text(text: str, tokenizer: Any, max_length: int) -> Example:
    """A text whose words are found by the tokenizer itself, all with tag 0, for predictions."""
    encoding = tokenizer(text, truncation=True, max_length=max_length).encodings[0]
    begun = _begun(encoding.word_ids)
    spans = tuple(encoding.word_to_chars(word) for word in begun if word is not None)
    tags = tuple(IGNORED if word is None else 0 for word in begun)
    return Example(tuple(encoding.ids), WordTags(tags, text, spans))


def _begun(word_ids: Sequence[int | None]) -> list[int | None]:
    """For each token the word that it begins, or None."""
    earlier = [None, *word_ids[:-1]]
    return [word if word != before else None for before, word in zip(earlier, word_ids, strict=True)]

"""Text files with one word and its tag a line, as the CoNLL shared tasks wrote them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sealora.protocol.errors import DataError

COLUMNS = ("tokens", "tags")
SEPARATOR = re.compile(r"[ \t]+")
"""Python's own idea of white space has ideographic spaces in it, which are words of Chinese texts."""


def read_conll(path: Path) -> dict[str, list[list[str]]]:
    """A file's sentences as two columns of equal length: words, and the tags beside them.

    A line is a word, spaces or a tab, and more columns, of which the last is the tag; an empty line ends
    a sentence, and so does a line that begins with `-DOCSTART-`. Raises DataError at a line without a tag.
    """
    tokens: list[list[str]] = []
    tags: list[list[str]] = []
    with path.open(encoding="utf-8-sig") as file:
        for sentence in _sentences(path, file):
            tokens.append([word for word, _ in sentence])
            tags.append([tag for _, tag in sentence])
    return dict(zip(COLUMNS, (tokens, tags), strict=True))


def _sentences(path: Path, lines: Iterable[str]) -> Iterator[list[tuple[str, str]]]:
    sentence: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        cells = SEPARATOR.split(line.strip(" \t\r\n"))
        if cells == [""] or cells[0] == "-DOCSTART-":
            if sentence:
                yield sentence
            sentence = []
        elif len(cells) > 1:
            sentence.append((cells[0], cells[-1]))
        else:
            raise DataError(
                f"{path}, line {number}: has a word without a tag.",
                "Write a word, a space and its tag on every line, and leave a line empty between sentences.",
            )
    if sentence:
        yield sentence

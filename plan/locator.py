"""Line numbers of a TOML document's keys, which `tomllib` does not give.

The text has been parsed by `tomllib` before, so that only well-formed TOML (v1.0.0) comes here: the
scanner needs to know where tokens end, not what they mean.
"""

import re
import tomllib
from bisect import bisect_right

Key = tuple[str | int, ...]
"""A path to a value: table names, keys, and indices of arrays."""

MAX_DEPTH = 8
"""Deeper parts of a path are not recorded; no plan has them."""

_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_PART = r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*'"""
_KEY = re.compile(rf"(?:{_PART})(?:[ \t]*\.[ \t]*(?:{_PART}))*")
_SCALAR = re.compile(r"[^,\]}\n#]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)*")
_REST_OF_LINE = re.compile(r"[^\n]*")


def locate(text: str) -> dict[Key, int]:
    """The line (from 1) on which each key, table and array item of a TOML text first stands."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    """Walks over a document once; `_position` is the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._lines: dict[Key, int] = {}
        self._items: dict[Key, int] = {}

    def scan(self) -> dict[Key, int]:
        """Reads statements until the end of the text."""
        table: Key = ()
        self._skip(_BLANK)
        while self._position < len(self._text):
            if self._text[self._position] == "[":
                table = self._header()
                self._skip(_REST_OF_LINE)
            else:
                self._pair(table)
                self._skip(_REST_OF_LINE)
            self._skip(_BLANK)
        return self._lines

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._position)
        if match is None:
            return ""
        self._position = match.end()
        return match.group()

    def _record(self, path: Key, position: int) -> None:
        line = bisect_right(self._starts, position)
        for length in range(1, min(len(path), MAX_DEPTH) + 1):
            self._lines.setdefault(path[:length], line)

    def _parts(self) -> tuple[str, ...]:
        parts = re.findall(_PART, self._skip(_KEY))
        return tuple(tomllib.loads(f"key = {part}")["key"] if part[0] in "\"'" else part for part in parts)

    def _header(self) -> Key:
        """`[table]` or `[[array of tables]]`; leaves the position behind the name."""
        repeated = self._text.startswith("[[", self._position)
        self._position += 2 if repeated else 1
        self._skip(_SPACE)
        start, parts = self._position, self._parts()
        path: Key = ()
        for place, part in enumerate(parts):
            path = (*path, part)
            if repeated and place == len(parts) - 1:
                self._items[path] = self._items.get(path, 0) + 1
            if path in self._items:
                path = (*path, self._items[path] - 1)
        self._record(path, start)
        return path

    def _pair(self, table: Key) -> None:
        """`key = value`, at the top or in an inline table."""
        start, parts = self._position, self._parts()
        self._record((*table, *parts), start)
        self._skip(_SPACE)
        self._position += 1
        self._skip(_SPACE)
        self._value((*table, *parts))

    def _value(self, path: Key) -> None:
        if self._text[self._position] == "[":
            self._array(path)
        elif self._text[self._position] == "{":
            self._inline_table(path)
        elif not self._skip(_STRING):
            self._skip(_SCALAR)

    def _array(self, path: Key) -> None:
        self._position += 1
        index = 0
        while not self._closes("]"):
            self._record((*path, index), self._position)
            self._value((*path, index))
            index += 1

    def _inline_table(self, path: Key) -> None:
        self._position += 1
        while not self._closes("}"):
            self._pair(path)

    def _closes(self, bracket: str) -> bool:
        """Skips blanks and one comma; true, and past it, at the closing bracket."""
        self._skip(_BLANK)
        if self._text[self._position] == ",":
            self._position += 1
            self._skip(_BLANK)
        if self._text[self._position] != bracket:
            return False
        self._position += 1
        return True

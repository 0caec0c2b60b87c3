"""Whether a file of JSON is rows, found out before a parser that would crash on it or guess reads it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sealora.protocol.errors import DataError

REMEDY = "Mend that line, or export the table again."


class _Twice(ValueError):
    """A key that stands twice in one object."""


def has_rows(path: Path) -> bool:
    """Whether there is any row.

    A file is one row a line, each a JSON object, or one array of such objects (or, in a `.json`, one object
    of columns). Raises DataError with the first line that is no row; UnicodeDecodeError.
    """
    with path.open(encoding="utf-8-sig") as file:
        first = next((line for line in file if line.strip()), "")
    if not first:
        return False
    broken = next(_broken_lines(path), None)
    if broken is not None and not _is_whole(path, first):
        raise broken
    return True


def _broken_lines(path: Path) -> Iterator[DataError]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if line.strip() and (wrong := _wrong(line)):
                yield DataError(f"{path}, line {number}: {wrong}.", REMEDY)


def _wrong(line: str) -> str:
    """What keeps a line from being a row; empty for nothing."""
    try:
        return "" if isinstance(_parsed(line), dict) else "is not a JSON object (one row in braces)"
    except _Twice:
        return "has a key twice"  # which one is not told: below the columns keys are content
    except (ValueError, RecursionError):
        return "is not valid JSON"


def _is_whole(path: Path, first: str) -> bool:
    """Whether the file is one value that is a table. Only what begins like one is parsed as a whole."""
    columns = path.suffix.lower() == ".json"
    if not first.lstrip().startswith(("[", "{") if columns else "["):
        return False
    try:
        found = _parsed(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) or (bool(found) and all(isinstance(row, dict) for row in found))


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice
    return found

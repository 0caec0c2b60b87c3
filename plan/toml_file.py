"""Settings in TOML files, plans and a site's: read within bounds, with the line of every mistake."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealora.protocol.errors import PlanError
from sealora.protocol.settings import Settings

MAX_BYTES = 1_000_000
"""Larger files are no settings."""
MAX_KEY_PARTS = 100
"""Parts of a dotted key: the time that tomllib takes for one grows with their square."""

_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True)
class FileKind:
    """What messages call such a file, the command that writes one to start from, and what it holds."""

    noun: str
    command: str
    settings: type[Settings]


def read_text(path: Path, kind: FileKind) -> str:
    """A file's text. Raises PlanError: absent, unreadable, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        remedy = f"Write a {kind.noun} with `{kind.command}`."
        raise PlanError(f"{path}: there is no such file.", remedy) from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise PlanError(f"{path}: larger than {MAX_BYTES:,} bytes, so it is no {kind.noun}.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlanError(f"{path}:{line}: not UTF-8.", "Save the file in that encoding.") from None


def parse(text: str, name: str, kind: FileKind) -> dict[str, Any]:
    """The table that a TOML text holds. Raises PlanError with the line."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_KEY_PARTS and _key_parts(line) > MAX_KEY_PARTS:
            raise PlanError(
                f"{name}:{number}: a key of more than {MAX_KEY_PARTS} parts is none of a {kind.noun}'s."
            )
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or an integer of more digits than Python reads
        reason = _POSITION.sub("", str(error))
        raise PlanError(f"{_place(name, text, str(error))}: not valid TOML: {reason}.") from None


def _key_parts(line: str) -> int:
    """The longest row of words with dots between them, which is at least as long as any dotted key."""
    longest = row = 0
    for piece in line.split("."):
        row = row + 1 if piece.strip() and "," not in piece else 1
        longest = max(longest, row)
    return longest


def _place(name: str, text: str, reason: str) -> str:
    """`name:line` of a TOMLDecodeError, which states its position in words only (until Python 3.14)."""
    found = _POSITION.search(reason)
    if found is None:
        return name
    last = len(text.split("\n"))
    return f"{name}:{found[1] or last}"

"""Reads the files of bundled data sets: every column as it is in them, all values strings, in file order."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import csv

CLUB = 4
"""Users of one club of the conversations, who wrote about as much as each other."""


def read_csv(path: Path) -> pyarrow.Table:
    """Quoted, with a header."""
    return _separated(path, ",", quoted=True)


def read_orange(path: Path) -> pyarrow.Table:
    """Tab-separated, with two rows of types after the header."""
    return _separated(path, "\t", quoted=False)


def _separated(path: Path, delimiter: str, quoted: bool) -> pyarrow.Table:
    with path.open(encoding="utf-8") as file:
        columns = file.readline().rstrip("\r\n").split(delimiter)
    return csv.read_csv(
        path,
        csv.ReadOptions(skip_rows_after_names=0 if quoted else 2),
        csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted),
        csv.ConvertOptions(column_types=dict.fromkeys(columns, pyarrow.string())),
    )


def read_lines(folder: Path) -> pyarrow.Table:
    """A folder with pos.txt and neg.txt, one text a line."""
    texts: list[str] = []
    labels: list[str] = []
    for label in ("pos", "neg"):
        lines = (line.strip() for line in (folder / f"{label}.txt").read_text("utf-8").split("\n"))
        found = [line for line in lines if line]
        texts += found
        labels += [label] * len(found)
    return pyarrow.table({"text": texts, "label": labels})


def read_chitchat(path: Path) -> pyarrow.Table:
    """A row for each turn that answers another: who wrote it (`user`), the turn before, and the turn itself.

    `club` is "1" for the four users who wrote the most turns, "2" for the next four, and so on.
    """
    turns = list(_turns(json.loads(path.read_text("utf-8"))))
    written = Counter(user for user, _, _ in turns)
    ranks = sorted(written, key=lambda user: (-written[user], user))
    clubs = {user: str(rank // CLUB + 1) for rank, user in enumerate(ranks)}
    users, prompts, responses = zip(*turns, strict=True)
    return pyarrow.table(
        {
            "user": users,
            "club": [clubs[user] for user in users],
            "prompt": prompts,
            "response": responses,
        }
    )


def _turns(conversations: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(user, the turn before, the turn): a turn is what one person wrote before the other answered."""
    for conversation in conversations.values():
        texts = [_text(turn) for turn in conversation["messages"]]
        for turn, before, text in zip(conversation["messages"][1:], texts, texts[1:], strict=False):
            if before and text:
                yield f"user-{turn[0]['sender'][:8]}", before, text


def _text(turn: list[Mapping[str, str]]) -> str:
    return "\n".join(message["text"] for message in turn).strip()


def read_instructions(path: Path) -> pyarrow.Table:
    """A JSON list of instruction, input (which may be empty) and output."""
    rows = json.loads(path.read_text("utf-8"))
    return pyarrow.table({key: [row[key] for row in rows] for key in ("instruction", "input", "output")})


READERS: dict[str, Callable[[Path], pyarrow.Table]] = {
    "csv": read_csv,
    "orange": read_orange,
    "lines": read_lines,
    "chitchat": read_chitchat,
    "instructions": read_instructions,
}

"""How the files of bundled data sets are read, by format: cells are text or lists of it, in file order."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow
from pyarrow import csv

from sealora.models.conll import read_conll
from sealora.models.conversations import read_conversations

ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
"""Names of the speakers in the preference pairs, and those that chat templates know."""

LINK = re.compile(r"https?:\S*")
TOPICS = {
    "cancer": "cancer",
    "diabetes": "diabet",
    "Ebola": "ebola",
    "flu": r"\bflu\b|influenza",
    "heart": r"\bhearts?\b",
    "weight": r"\bweight\b|obes",
}
"""Topics of health news, and what the words that name them have in them (regular expressions)."""


def read_csv(path: Path) -> pyarrow.Table:
    """Quoted, with a header."""
    with path.open("rb") as file:
        return _quoted(file)


def _quoted(file: IO[bytes]) -> pyarrow.Table:
    content = file.read()
    columns = content.partition(b"\n")[0].decode("utf-8").rstrip("\r").split(",")
    parsing = csv.ParseOptions(newlines_in_values=True)
    return csv.read_csv(io.BytesIO(content), parse_options=parsing, convert_options=_as_text(columns))


def read_orange(path: Path) -> pyarrow.Table:
    """Separated by tabs, without quotes, and with two rows of types after the header."""
    with path.open(encoding="utf-8") as file:
        columns = file.readline().rstrip("\r\n").split("\t")
    parsing = csv.ParseOptions(delimiter="\t", quote_char=False)
    return csv.read_csv(path, csv.ReadOptions(skip_rows_after_names=2), parsing, _as_text(columns))


def _as_text(columns: list[str]) -> csv.ConvertOptions:
    return csv.ConvertOptions(column_types=dict.fromkeys(columns, pyarrow.string()))


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


def read_tagged(path: Path) -> pyarrow.Table:
    """Words and tags as the CoNLL tasks wrote them."""
    return pyarrow.table(read_conll(path))


def read_tweets(path: Path) -> pyarrow.Table:
    """An archive with one CSV file, whose `source_id` is an outlet, a dash and a number.

    The tweets come without labels. Those about one of `TOPICS` get it as their `topic`, with what names it
    replaced by a blank, so that it is to be told from the rest.
    """
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        table = _quoted(file)
    blanked = [_blanked(text) for text in table["text"].to_pylist()]
    return pyarrow.table(
        {
            "outlet": [source.rpartition("-")[0] for source in table["source_id"].to_pylist()],
            "text": [text for text, _ in blanked],
            "topic": [topic for _, topic in blanked],
            "has_topic": ["yes" if topic else "no" for _, topic in blanked],
        }
    )


def _blanked(tweet: str) -> tuple[str, str]:
    """The tweet without links, which spell topics in their own ways, and its only topic, or an empty text."""
    text = LINK.sub("", tweet).strip()
    found = [topic for topic, named in TOPICS.items() if re.search(named, text, re.IGNORECASE)]
    if len(found) != 1:
        return text, ""
    return re.sub(rf"\w*({TOPICS[found[0]]})\w*", "___", text, flags=re.IGNORECASE), found[0]


def read_preferences(path: Path) -> pyarrow.Table:
    """A JSON array of conversations that end with a question, and two answers to it."""
    rows = json.loads(path.read_text("utf-8"))
    return pyarrow.table(
        {
            "messages": [[_message(turn) for turn in row["conversations"]] for row in rows],
            "chosen": [row["chosen"]["value"] for row in rows],
            "rejected": [row["rejected"]["value"] for row in rows],
        }
    )


def _message(turn: Mapping[str, Any]) -> dict[str, str]:
    return {"role": ROLES[turn["from"]], "content": turn["value"]}


def read_instructions(path: Path) -> pyarrow.Table:
    """A JSON array of instruction, input (which may be empty) and output."""
    rows = json.loads(path.read_text("utf-8"))
    return pyarrow.table({key: [row[key] for row in rows] for key in ("instruction", "input", "output")})


READERS: Mapping[str, Callable[[Path], pyarrow.Table]] = {
    "csv": read_csv,
    "orange": read_orange,
    "lines": read_lines,
    "conll": read_tagged,
    "tweets": read_tweets,
    "preferences": read_preferences,
    "instructions": read_instructions,
    "chitchat": read_conversations,
}

"""The bundled conversations: turns with the ones before them, by user."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow

CLUB = 4
"""Users of one club, who wrote about as much as each other."""


def read_conversations(path: Path) -> pyarrow.Table:
    """A row for each turn that answers another: who wrote it (`user`), the turn before, and the turn itself.

    `club` is "1" for the four users who wrote the most turns, "2" for the next four, and so on.
    """
    turns = list(_turns(json.loads(path.read_text("utf-8")).values()))
    users, prompts, responses = ([turn[place] for turn in turns] for place in range(3))
    written = Counter(users)
    ranks = sorted(written, key=lambda user: (-written[user], user))
    clubs = {user: str(rank // CLUB + 1) for rank, user in enumerate(ranks)}
    return pyarrow.table(
        {
            "user": users,
            "club": [clubs[user] for user in users],
            "prompt": prompts,
            "response": responses,
        }
    )


def _turns(conversations: Iterator[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(user, the turn before, the turn): a turn is what one person wrote before the other answered."""
    for conversation in conversations:
        turns = conversation["messages"]
        texts = [_text(turn) for turn in turns]
        for turn, before, text in zip(turns[1:], texts, texts[1:], strict=False):
            if before and text:
                yield f"user-{turn[0]['sender'][:8]}", before, text


def _text(turn: Sequence[Mapping[str, str]]) -> str:
    return "\n".join(message["text"] for message in turn).strip()

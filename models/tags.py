"""Tag schemes: how words' tags spell entities, and the entities that a sequence of tags spells.

A tag is `O` for a word outside of all entities, or a letter, a dash and the entity's type: `B-PER`. Two
readings are in use, and differ where a sequence breaks the rules of its scheme, as models' predictions do:

- `entities` makes the best of it, as the CoNLL-2000 script conlleval does, whatever the scheme. This is
  seqeval's default, and what most papers report.
- `strict_entities` takes only what the scheme allows: seqeval's `mode="strict"`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sealora.models.settings import TaskSettings
from sealora.protocol.settings import Settings


class Tag(NamedTuple):
    """A tag in the letters of BIOES, whatever the scheme's own: begin, inside, outside, end, single."""

    letter: str
    type: str


class Entity(NamedTuple):
    """The words `start` to `end` - 1 of a sequence, and what they name."""

    type: str
    start: int
    end: int


OUTSIDE = Tag("O", "")

Rule = Callable[[Tag, Tag], bool]
"""Of two tags in a row."""


@dataclass(frozen=True)
class Scheme:
    """How a scheme writes the letters of BIOES, and what it allows.

    Ramshaw & Marcus 1995 (IOB1); Tjong Kim Sang & Veenstra 1999, "Representing text chunks" (the others).
    """

    letters: dict[str, str]
    begins: Rule
    """Whether the second tag begins an entity, given that it does not continue one."""
    continues: Rule
    """Whether the second tag continues the entity that the first is in."""
    complete: Rule
    """Whether an entity may end with the first tag, given that the second does not continue it."""

    def tags(self, types: Sequence[str]) -> dict[str, Tag]:
        """All tags for entities of these types, by how the scheme writes them; `O` comes first."""
        inside = {
            f"{own}-{name}": Tag(letter, name) for name in types for letter, own in self.letters.items()
        }
        return {"O": OUTSIDE, **inside}


def _same(before: Tag, tag: Tag) -> bool:
    return before.type == tag.type


def _begins_iob1(before: Tag, tag: Tag) -> bool:
    """B only parts an entity from one of the same type right before it."""
    if tag.letter == "B":
        return _same(before, tag)
    return tag.letter == "I" and (before.letter == "B" or not _same(before, tag))


def _complete_iob1(last: Tag, after: Tag) -> bool:
    return _same(last, after) or not last.letter == after.letter == "B"


def _continues(before: Tag, tag: Tag) -> bool:
    return before.letter in "BI" and tag.letter in "IE" and _same(before, tag)


def _long(inside: str, end: str, single: str) -> Scheme:
    """A scheme that marks last words and entities of one word, too."""
    return Scheme(
        letters={"B": "B", "I": inside, "E": end, "S": single},
        begins=lambda before, tag: tag.letter in "BS",
        continues=_continues,
        complete=lambda last, after: last.letter in "ES",
    )


class TagOptions(Settings):
    """The task's own keys."""

    scheme: Literal["iob1", "iob2", "bioes", "bmes", "bilou"] = "iob2"
    """How the data's tags write entities."""


def tag_names(settings: TaskSettings) -> tuple[str, ...]:
    """All tags of the plan's scheme and types, in the order of the model's outputs."""
    options = TagOptions.model_validate(settings.options)
    return tuple(SCHEMES[options.scheme].tags(settings.labels))


SHORT = {"B": "B", "I": "I"}
SCHEMES = {
    "iob1": Scheme(SHORT, _begins_iob1, _continues, _complete_iob1),
    "iob2": Scheme(SHORT, lambda before, tag: tag.letter == "B", _continues, lambda last, after: True),
    "bioes": _long("I", "E", "S"),
    "bmes": _long("M", "E", "S"),
    "bilou": _long("I", "L", "U"),
}


def entities(tags: Sequence[Tag]) -> list[Entity]:
    """The entities that conlleval reads: also such as begin with I or E, or lack their E."""
    found = []
    start = 0
    for place, (before, tag) in enumerate(zip((OUTSIDE, *tags), (*tags, OUTSIDE), strict=True)):
        if tag != OUTSIDE and before != OUTSIDE and not _parts(before, tag):
            continue
        if before != OUTSIDE:
            found.append(Entity(before.type, start, place))
        start = place
    return found


def _parts(before: Tag, tag: Tag) -> bool:
    """Whether two words, both in entities, are in different ones."""
    return before.letter in "ES" or tag.letter in "BS" or not _same(before, tag)


def strict_entities(tags: Sequence[Tag], scheme: Scheme) -> list[Entity]:
    """The entities that are written as the scheme demands."""
    found = []
    place = 0
    while place < len(tags):
        start, place = place, place + 1
        if not scheme.begins(tags[start - 1] if start else OUTSIDE, tags[start]):
            continue
        while place < len(tags) and scheme.continues(tags[place - 1], tags[place]):
            place += 1
        if scheme.complete(tags[place - 1], tags[place] if place < len(tags) else OUTSIDE):
            found.append(Entity(tags[start].type, start, place))
    return found

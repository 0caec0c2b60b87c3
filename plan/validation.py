"""From a table of TOML values to settings, or to every problem that keeps it from being them."""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sealora.plan import schema
from sealora.plan.locator import Key
from sealora.plan.problems import Problem, did_you_mean, printable
from sealora.plan.toml_file import FileKind
from sealora.protocol.visible import first_hidden

SCHEMA = 1


def schema_problems(table: Mapping[str, Any], kind: FileKind) -> Iterator[Problem]:
    """A file of another format: nothing else can be said about it."""
    if "schema" not in table:
        yield Problem(("schema",), "missing.", f"Write `schema = {SCHEMA}` at the top of the {kind.noun}.")
    elif type(table["schema"]) is not int or table["schema"] != SCHEMA:
        yield Problem(
            ("schema",),
            f"this version of Sealora reads {kind.noun}s of schema {SCHEMA}, not {_show(table['schema'])}.",
            f"Install the version that the {kind.noun} was written for, or start afresh with "
            f"`{kind.command}`.",
        )


def value_problems(table: Mapping[str, Any]) -> Iterator[Problem]:
    """Numbers that no settings can hold: they have no place in JSON, which is what is hashed."""
    for key, value in _values(table):
        if isinstance(value, float) and not math.isfinite(value):
            yield Problem(key, f"must be a finite number, not {value}.")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            yield Problem(key, "must be an integer of at most 64 bits.")


def hidden_problems(table: Mapping[str, Any]) -> Iterator[Problem]:
    """Texts, and keys, with characters that nobody sees: who approves a plan must see all of it."""
    for key, value in _values(table):
        for text, what in ((value, "holds"), (key[-1] if key else "", "is a key that holds")):
            if isinstance(text, str) and (character := first_hidden(text)):
                yield Problem(key, f"{what} a control or invisible character ({character}).", "Remove it.")


def _values(value: object, key: Key = ()) -> Iterator[tuple[Key, object]]:
    """A table with everything in it, each with its key."""
    yield key, value
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _values(item, (*key, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _values(item, (*key, index))


def with_tuples(value: Any) -> Any:
    """The value with arrays as tuples: settings are frozen, and strict about that too."""
    if isinstance(value, Mapping):
        return {name: with_tuples(item) for name, item in value.items()}
    return tuple(with_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def problems_of(error: ValidationError, kind: FileKind, within: Key = ()) -> list[Problem]:
    """Pydantic's findings in the words of the file, about settings that stand at the key `within`."""
    return [_problem(details, kind, within) for details in error.errors(include_url=False)]


def _problem(details: ErrorDetails, kind: FileKind, within: Key) -> Problem:
    key: Key = (*within, *details["loc"])
    if details["type"] in _KEY_EXPLANATIONS:
        return Problem(key, *_KEY_EXPLANATIONS[details["type"]](details, kind))
    explain = _EXPLANATIONS.get(details["type"])
    if explain is None:
        return Problem(key, f"{details['msg']}, not {_show(details['input'])}.")
    return Problem(key, *explain(details))


Explanation = tuple[str, str]


def _missing(details: ErrorDetails, kind: FileKind) -> Explanation:
    key = details["loc"]
    within = schema.section_at(key, kind.settings)
    info = schema.fields(within)[str(key[-1])] if within is not None else None
    if info is not None and schema.section(info) is not None:
        return "missing.", f"Add a [{key[-1]}] section."
    return (
        "missing.",
        f"Write `{key[-1]} = …`: {info.description}" if info is not None and info.description else "",
    )


def _unknown(details: ErrorDetails, kind: FileKind) -> Explanation:
    within = schema.section_at(details["loc"], kind.settings)
    known = list(schema.fields(within)) if within is not None else []
    return "unknown key.", did_you_mean(str(details["loc"][-1]), known)


def _choice(details: ErrorDetails) -> Explanation:
    value = details["input"]
    expected = details.get("ctx", {}).get("expected", "")
    known = [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]
    near = did_you_mean(value, known) if isinstance(value, str) else ""
    return f"must be {expected}, not {_show(value)}.", near if near.startswith("Did") else ""


def _kind(wanted: str) -> Callable[[ErrorDetails], Explanation]:
    return lambda details: (f"must be {wanted}, not {_show(details['input'])}.", "")


def _bound(words: str, limit: str) -> Callable[[ErrorDetails], Explanation]:
    def explain(details: ErrorDetails) -> Explanation:
        value = details["ctx"][limit]
        shown = f"{value:g}" if isinstance(value, float) else value
        return f"must be {words} {shown}, not {_show(details['input'])}.", ""

    return explain


_KEY_EXPLANATIONS: dict[str, Callable[[ErrorDetails, FileKind], Explanation]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
}
"""Problems with a key, which the file's schema explains; the others are with a value."""

_EXPLANATIONS: dict[str, Callable[[ErrorDetails], Explanation]] = {
    "literal_error": _choice,
    "string_type": _kind("a string in quotes"),
    "int_type": _kind("an integer"),
    "float_type": _kind("a number"),
    "bool_type": _kind("true or false"),
    "tuple_type": _kind("an array"),
    "dict_type": _kind("a table"),
    "model_type": _kind("a section"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "string_too_short": _kind("a longer string"),
    "string_too_long": _kind("a shorter string"),
}


def _show(value: object) -> str:
    """A value as the file wrote it, short enough for a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string '{printable(value, 40)}'"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, date | time):
        return f"the date or time {value}"
    if isinstance(value, int) and abs(value) >= 2**64:
        return "a huge integer"
    return str(value)

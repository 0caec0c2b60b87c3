"""The manual's page of plan keys, made from the settings themselves.

`python -m sealora.plan.reference FILE` writes it.
"""

import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from sealora.models.settings import DataSettings
from sealora.models.task_card import TaskCard
from sealora.models.task_registry import BUILT_IN
from sealora.plan import schema
from sealora.plan.contract import NOT_HASHED
from sealora.plan.settings import PlanSettings
from sealora.plan.starter import starter
from sealora.plan.writer import value_text
from sealora.protocol.settings import Settings

_INTRODUCTION = """\
# The plan

A plan is one run's contract: a TOML file that every party sees, checked before anything starts, and
named by a hash. `sealora plan new` writes one to start from, `sealora plan check` finds its mistakes and
says what it costs, and `sealora plan show` prints it with every default filled in.

```toml
{starter}```

## What the hash covers

The hash is the SHA-256 of the plan's *contract*: every key with its default filled in, as JSON with
sorted keys, without white space, and with floats in their shortest exact form. Comments, the order of
keys and spelling (`2` or `2.0`) make no difference. A run adds the base model's hash as `model_hash`.
Keys that belong to one site, to one machine or to a simulation are left out; the tables below mark them
with "no" under *contract*.

Numbers must be finite and integers of at most 64 bits. Unknown keys are errors.

This page is made from the code by `python -m sealora.plan.reference docs/plan.md`.
"""
_HEADER = "| key | type | default | range | contract | meaning |\n|---|---|---|---|---|---|"
_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "value"}
_SIGNS = {
    "ge": "≥ ",
    "gt": "> ",
    "le": "≤ ",
    "lt": "< ",
    "min_length": "length ≥ ",
    "max_length": "length ≤ ",
}


def render() -> str:
    """The whole page as Markdown: one table for the top of a plan, and one for each section."""
    blocks = [_INTRODUCTION.format(starter=starter()), _block("", PlanSettings, "## At the top")]
    for name, kind in schema.sections():
        blocks.append(_block(name, kind, f"## [{name}]"))
        if name == "task":
            blocks += [_options(task, built_in.card) for task, built_in in BUILT_IN.items()]
    return "\n".join(blocks)


def _block(name: str, kind: type[Settings], title: str) -> str:
    rows = [
        _row(name, key, info) for key, info in schema.fields(kind).items() if schema.section(info) is None
    ]
    text = "The keys before the first section." if kind is PlanSettings else kind.__doc__
    return "\n".join([title, "", str(text), "", _HEADER, *rows, ""])


def _options(task: str, card: TaskCard) -> str:
    """What the task learns, which columns it reads, and its own keys."""
    columns = " and ".join(f"`{key}`" for key in card.columns(DataSettings()))
    lines = [f"### {task}", "", f"{card.summary} It reads {columns} of `[data]`.", ""]
    if card.options_class.model_fields:
        rows = [
            table_row(*facts[:-1], "yes", facts[-1])
            for facts in (key_facts(key, info) for key, info in schema.fields(card.options_class).items())
        ]
        lines += [f"Keys of `[task.options]` for `{task}`:", "", _HEADER, *rows, ""]
    return "\n".join(lines)


def _row(name: str, key: str, info: FieldInfo) -> str:
    excluded = NOT_HASHED.get(name, frozenset())
    facts = key_facts(key, info)
    return table_row(*facts[:-1], "no" if excluded is None or key in excluded else "yes", facts[-1])


def key_facts(key: str, info: FieldInfo) -> tuple[str, str, str, str, str]:
    """Name, type, default, range and meaning of a key, as Markdown."""
    default = (
        "required" if info.is_required() else f"`{_default(info.get_default(call_default_factory=True))}`"
    )
    return f"`{key}`", _type(info.annotation), default, _range(info), " ".join(str(info.description).split())


def table_row(*cells: str) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(value: Any) -> str:
    return value_text(list(value) if isinstance(value, tuple) else value)


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return _KINDS[type(get_args(annotation)[0])]
    if get_origin(annotation) is tuple:
        return f"array of {_type(get_args(annotation)[0])}s"
    if get_origin(annotation) is dict:
        return f"table of {_type(get_args(annotation)[1])}s"
    return _KINDS[annotation]


def _range(info: FieldInfo) -> str:
    """Literal choices, or the bounds that the field's metadata states."""
    if get_origin(info.annotation) is Literal:
        return ", ".join(f"`{value_text(choice)}`" for choice in get_args(info.annotation))
    bounds = [
        f"{sign}{getattr(item, bound)}"
        for item in info.metadata
        for bound, sign in _SIGNS.items()
        if getattr(item, bound, None) is not None
    ]
    return ", ".join(bounds)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")

"""The strategies of a comparison, as people write them.

    fedavg,ffa,fedprox:mu=0.1,fedadam:server_learning_rate=0.01,tau=0.0001

Names are separated by commas; what follows a colon are keys that differ from the plan. A bare key is the
strategy's own option or a key of [strategy]; `training.optimizer=sgd` is one of another section. A piece
that only has a key belongs to the strategy before it. `all` stands for every strategy not named otherwise.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sealora.plan import schema
from sealora.plan.loader import Plan
from sealora.plan.locator import Key
from sealora.plan.problems import printable
from sealora.plan.toml_file import FileKind
from sealora.plan.validation import problems_of, with_tuples
from sealora.protocol.errors import PlanError, UsageError
from sealora.protocol.settings import Settings
from sealora.strategies.registry import registered, strategy_class
from sealora.strategies.settings import StrategySettings

ALL = "all"
COMMON = ("model", "task", "data", "privacy", "simulation")
"""Sections that decide the rows and how they are split: all contenders share them."""
KEPT = ("weighting", "weight_cap")
"""Keys of [strategy] that hold for every strategy; the plan's others are its own strategy's."""


@dataclass(frozen=True)
class Contender:
    """One strategy of a comparison, and the plan that it makes, or why it makes none."""

    label: str
    """Name and keys in a fixed order: equal labels are equal settings."""
    plan: Plan | None
    refused: str = ""


def read_contenders(plan: Plan, texts: Sequence[str]) -> tuple[Contender, ...]:
    """The strategies in `texts`, each as a variation of the plan.

    What can be read but not be combined with the plan is refused in its contender. Raises UsageError if a
    strategy or key is unknown or a value of the wrong kind, if one is there twice, or if the first, which
    the others are compared with, is refused.
    """
    contenders = [_contender(plan, name, keys) for name, keys in _expanded(_pieces(texts))]
    seen: dict[str, str] = {}
    for one in contenders:
        known = one.plan.hash if one.plan is not None else one.label
        if known in seen:
            raise UsageError(f"{seen[known]} and {one.label} are the same.", "Name it once.")
        seen[known] = one.label
    require_first(contenders[0].label, {one.label: one.refused for one in contenders if one.plan is None})
    return tuple(contenders)


def require_first(label: str, refused: Mapping[str, str]) -> None:
    """Raises UsageError if this contender, with which the others are compared, is among the refused."""
    if label in refused:
        raise UsageError(
            f"{label}, with which the others are compared, is refused: {refused[label]}",
            "Change the plan, or name another strategy first.",
        )


def _pieces(texts: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Names with their keys, all still text."""
    found: list[tuple[str, dict[str, str]]] = []
    for piece in (piece.strip() for text in texts for piece in text.split(",")):
        name, colon, setting = piece.partition(":")
        if "=" in name:
            name, colon, setting = "", ":", piece
        if name:
            found.append((name, {}))
        key, equals, value = setting.partition("=")
        if not found or not (name or setting) or (colon and not (key and equals and value)):
            raise UsageError(
                f"{printable(piece)!r} is no strategy.",
                "Write NAME or NAME:KEY=VALUE, separated by commas, such as fedavg,fedprox:mu=0.1.",
            )
        if colon:
            found[-1][1][key.strip()] = value.strip()
    return found


def _expanded(pieces: Sequence[tuple[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    named = {name for name, _ in pieces}
    rest: list[tuple[str, dict[str, str]]] = [(name, {}) for name in registered() if name not in named]
    return [one for piece in pieces for one in (rest if piece == (ALL, {}) else [piece])]


def _contender(plan: Plan, name: str, keys: Mapping[str, str]) -> Contender:
    label = ",".join([name, *(f"{key}={value}" for key, value in sorted(keys.items()))]).replace(",", ":", 1)
    kind = strategy_class(name)
    sections = _sections(plan, name, {_key(label, key): _value(text) for key, text in keys.items()})
    _validate(label, ("strategy", "options"), kind.options_class, sections["strategy"]["options"])
    replacements: dict[str, object] = {}
    for section, values in sections.items():
        settings = type(getattr(plan, section))
        replacements[section] = _validate(label, (section,), settings, values)
    try:
        return Contender(label, plan.replace(**replacements))
    except PlanError as error:
        prefix = f"{plan.path or 'plan'}: "
        reasons = [line.removeprefix(prefix) for line in str(error).splitlines()]
        return Contender(label, None, " ".join(reasons))


def _sections(plan: Plan, name: str, changes: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    """What is written in [strategy] and in every section that changes."""
    written = plan.strategy.model_dump(exclude_unset=True)
    if name != plan.strategy.name:
        written = {key: value for key, value in written.items() if key in KEPT}
    sections = {"strategy": {**written, "name": name, "options": {**written.get("options", {})}}}
    for (section, key), value in changes.items():
        if section == "options":
            sections["strategy"]["options"][key] = value
        else:
            first = getattr(plan, section).model_dump(exclude_unset=True) if section not in sections else {}
            sections.setdefault(section, first)[key] = value
    return sections


def _key(label: str, text: str) -> tuple[str, str]:
    """(section, key) of a key as it is written; options have a section of their own here."""
    section, dot, key = text.rpartition(".")
    if not dot:
        own = text in schema.fields(StrategySettings) and text not in ("name", "options")
        return ("strategy" if own else "options"), text
    known = [name for name, _ in schema.sections() if name not in COMMON]
    if section in known and text not in ("strategy.name", "strategy.options"):
        return section, key
    why = "decides the rows, which all share." if section in COMMON else "there is no such section."
    raise UsageError(f"strategy {label}: {printable(text)}: {why}", f"Sections: {', '.join(known)}.")


def _value(text: str) -> Any:
    """A value as TOML has it; what is none is a string."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return with_tuples(table["value"]) if len(table) == 1 else text


def _validate(label: str, where: Key, kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings of a section. Raises UsageError with one line for each mistake."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = problems_of(error, FileKind("plan", "sealora plan new", kind), where)
        lines = [problem.describe(f"strategy {label}", {}) for problem in problems]
        raise UsageError("\n".join(lines)) from None

"""Loads plans: TOML → settings, every mistake with its line, and the hash of the contract.

    plan = load("plan.toml")
    plan.training.epochs, plan.hash, plan.warnings

A plan *is* its settings, so that sections are reached and typed as attributes.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError

from sealora.plan import checks, contract
from sealora.plan.locator import Key, locate
from sealora.plan.problems import raise_for
from sealora.plan.settings import PlanSettings
from sealora.plan.validation import problems_of, schema_problems, value_problems, with_tuples
from sealora.protocol.errors import PlanError
from sealora.protocol.settings import Settings

MAX_BYTES = 1_000_000
"""Larger files are no plans."""
MAX_KEY_PARTS = 100
"""Parts of a dotted key: the time that tomllib takes for one grows with their square."""

_MODEL_HASH = re.compile(r"[0-9a-f]{64}")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Plan(PlanSettings):
    """A validated, frozen run contract. Made by `load`, `from_text`, `from_settings` or `replace`."""

    _path: Path | None = PrivateAttr(default=None)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _model_hash: str = PrivateAttr(default="")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The plan in a TOML file. Raises PlanError: unreadable, no TOML, or no plan that can be run."""
        path = Path(path)
        plan = cls.from_text(_read(path), str(path))
        plan._path = path
        return plan

    @classmethod
    def from_text(cls, text: str, name: str = "plan.toml") -> Self:
        """The plan that a TOML text holds; `name` stands for the file in messages. Raises PlanError."""
        try:
            table = _parse(text, name)
            return cls._from_table(table, name, locate(text))
        except RecursionError:
            raise PlanError(f"{name}: nested too deeply to be a plan.") from None

    @classmethod
    def from_settings(cls, settings: PlanSettings, name: str = "plan") -> Self:
        """The plan of settings made in Python. Raises PlanError."""
        return cls._from_table(_written(settings), name, {})

    @classmethod
    def _from_table(cls, table: Mapping[str, Any], name: str, lines: Mapping[Key, int]) -> Self:
        raise_for(schema_problems(table), name, lines)
        found = list(value_problems(table))
        try:
            plan = cls.model_validate(with_tuples(table))
        except ValidationError as error:
            known = {problem.key for problem in found}
            found += [problem for problem in problems_of(error) if problem.key not in known]
        raise_for(found, name, lines)
        raise_for(checks.errors(plan), name, lines)
        plan._warnings = tuple(problem.describe(name, lines) for problem in checks.warnings(plan))
        return plan

    @property
    def settings(self) -> PlanSettings:
        """The sections alone, for code that needs nothing else of a plan."""
        return self

    @property
    def path(self) -> Path | None:
        """The file that the plan was loaded from."""
        return self._path

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but doubtful, one line each."""
        return self._warnings

    @property
    def model_hash(self) -> str:
        """Hex SHA-256 of the base model, or "" while it is not known."""
        return self._model_hash

    @property
    def canonical(self) -> str:
        """Canonical JSON of the contract: what all parties must agree on."""
        return contract.canonical(contract.contract(self, self._model_hash))

    @property
    def hash(self) -> str:
        """Hex SHA-256 of `canonical`."""
        return contract.sha256(self.canonical)

    def with_model_hash(self, model_hash: str) -> Self:
        """The contract of a run: this plan bound to a base model's hex SHA-256. Raises PlanError."""
        if not _MODEL_HASH.fullmatch(model_hash):
            raise PlanError("a base model's hash must be 64 hexadecimal digits in lower case.")
        bound = self.model_copy()
        bound._model_hash = model_hash
        return bound

    def replace(self, **sections: object) -> Self:
        """This plan with some sections or keys exchanged, validated again and without a model's hash.

        A mapping changes single keys of its section, settings or a plain value replace the whole:
        `plan.replace(training={"epochs": 2}, seed=7)`. Raises PlanError.
        """
        table = _written(self)
        for name, value in sections.items():
            if isinstance(value, Settings):
                table[name] = value.model_dump(by_alias=True, exclude_unset=True)
            elif isinstance(value, Mapping) and isinstance(table.get(name, {}), dict):
                table[name] = {**table.get(name, {}), **value}
            else:
                table[name] = value
        plan = self._from_table(table, str(self._path or "plan"), {})
        plan._path = self._path
        return plan


def load(path: str | Path) -> Plan:
    """See Plan.load."""
    return Plan.load(path)


def _written(settings: PlanSettings) -> dict[str, Any]:
    """The keys that were set, so that defaults stay defaults."""
    return settings.model_dump(by_alias=True, exclude_unset=True)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such file.", "Write a plan with `sealora plan new`.") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise PlanError(f"{path}: larger than {MAX_BYTES:,} bytes, so it is no plan.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlanError(f"{path}:{line}: not UTF-8.", "Save the file in that encoding.") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_KEY_PARTS and _key_parts(line) > MAX_KEY_PARTS:
            raise PlanError(f"{name}:{number}: a key of more than {MAX_KEY_PARTS} parts is none of a plan's.")
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

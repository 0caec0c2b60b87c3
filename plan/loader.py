"""Loads plans: TOML → settings, every mistake with its line, and the hash of the contract.

    plan = load("plan.toml")
    plan.training.epochs, plan.hash, plan.warnings

A plan *is* its settings, so that sections are reached and typed as attributes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError

from sealora.plan import checks, contract
from sealora.plan.locator import Key, locate
from sealora.plan.problems import raise_for
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import FileKind, parse, read_text
from sealora.plan.validation import (
    hidden_problems,
    problems_of,
    schema_problems,
    value_problems,
    with_tuples,
)
from sealora.protocol.errors import PlanError
from sealora.protocol.settings import Settings

PLAN = FileKind("plan", "sealora plan new", PlanSettings)

_MODEL_HASH = re.compile(r"[0-9a-f]{64}")


class Plan(PlanSettings):
    """A validated, frozen run contract. Made by `load`, `from_text`, `from_settings` or `replace`."""

    _path: Path | None = PrivateAttr(default=None)
    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _model_hash: str = PrivateAttr(default="")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The plan in a TOML file. Raises PlanError: unreadable, no TOML, or no plan that can be run."""
        path = Path(path)
        plan = cls.from_text(read_text(path, PLAN), str(path))
        plan._path = path
        return plan

    @classmethod
    def from_text(cls, text: str, name: str = "plan.toml") -> Self:
        """The plan that a TOML text holds; `name` stands for the file in messages. Raises PlanError."""
        try:
            table = parse(text, name, PLAN)
            return cls._from_table(table, name, locate(text))
        except RecursionError:
            raise PlanError(f"{name}: nested too deeply to be a plan.") from None

    @classmethod
    def from_settings(cls, settings: PlanSettings, name: str = "plan") -> Self:
        """The plan of settings made in Python. Raises PlanError."""
        return cls._from_table(_written(settings), name, {})

    @classmethod
    def _from_table(cls, table: Mapping[str, Any], name: str, lines: Mapping[Key, int]) -> Self:
        raise_for(schema_problems(table, PLAN), name, lines)
        found = [*value_problems(table), *hidden_problems(table)]
        try:
            plan = cls.model_validate(with_tuples(table))
        except ValidationError as error:
            known = {problem.key for problem in found}
            found += [problem for problem in problems_of(error, PLAN) if problem.key not in known]
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

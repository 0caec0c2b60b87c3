"""What the parties agree on: the part of a plan that is hashed, and its canonical text.

Canonical JSON: every default filled in, keys sorted, no white space, ASCII with escapes, floats in
the shortest form that reads back the same (`repr`). Equal contracts have equal text on any machine.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sealora.models.settings import ColumnSettings
from sealora.models.task_registry import task_options
from sealora.plan.settings import PlanSettings
from sealora.strategies.registry import strategy_class
from sealora.strategies.settings import StrategySettings

SITE_DATA_KEYS = frozenset(
    {
        "path",
        *ColumnSettings.model_fields,
        "filter_column",
        "filter_value",
        "label_map",
        "group_column",
        "rows",
    }
)
"""Keys of `[data]` that name what only one site has: its file, its columns, its labels' spelling."""

NOT_HASHED: dict[str, frozenset[str] | None] = {
    "simulation": None,
    "data": SITE_DATA_KEYS,
    "model": frozenset({"device"}),
    "privacy": frozenset({"public_holdout"}),
}
"""Keys that are no part of the contract, by section; None leaves out the whole section."""


def resolved(settings: PlanSettings) -> dict[str, Any]:
    """Every key of a plan with its value, as TOML and JSON know them, in the schema's order."""
    values: dict[str, Any] = settings.model_dump(mode="json", by_alias=True)
    values["task"]["options"] = task_options(settings.task).model_dump(mode="json")
    values["strategy"]["options"] = resolved_options(settings.strategy)
    return values


def resolved_options(settings: StrategySettings) -> dict[str, Any]:
    """The strategy's own keys with their defaults. Raises PlanError for an unknown strategy."""
    options = strategy_class(settings.name).options_class
    values: dict[str, Any] = options.model_validate(settings.options).model_dump(mode="json")
    return values


def contract(settings: PlanSettings, model_hash: str = "") -> dict[str, Any]:
    """The resolved keys that all parties share; `model_hash` joins them once the base model is known."""
    shared = {name: _shared(name, value) for name, value in resolved(settings).items() if _hashed(name)}
    return {**shared, "model_hash": model_hash} if model_hash else shared


def canonical(shared: Mapping[str, Any]) -> str:
    """The canonical JSON of a contract."""
    return json.dumps(shared, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(text: str) -> str:
    """Hex SHA-256 of a canonical text."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _hashed(name: str) -> bool:
    return NOT_HASHED.get(name, frozenset()) is not None


def _shared(name: str, value: Any) -> Any:
    left_out = NOT_HASHED.get(name)
    return {key: item for key, item in value.items() if key not in left_out} if left_out else value

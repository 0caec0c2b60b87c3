"""Settings as TOML text that loads back to the same settings."""

import json
from collections.abc import Mapping
from typing import Any

from sealora.plan.contract import resolved
from sealora.plan.settings import PlanSettings


def dumps(settings: PlanSettings) -> str:
    """Every key of a plan with its value, defaults included."""
    values = resolved(settings)
    plain = [_pair(key, value) for key, value in values.items() if not isinstance(value, Mapping)]
    blocks = ["\n".join(plain)]
    for name, keys in values.items():
        if isinstance(keys, Mapping):
            blocks.append("\n".join([f"[{name}]", *(_pair(key, value) for key, value in keys.items())]))
    return "\n\n".join(blocks) + "\n"


def quoted(text: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's, except that TOML escapes DEL too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _pair(key: str, value: Any) -> str:
    return f"{key} = {value_text(value)}"


def value_text(value: Any) -> str:
    """A value as TOML: strings, booleans, numbers, arrays and inline tables."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(value_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        items = ", ".join(f"{quoted(key)} = {value_text(item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    return repr(value)

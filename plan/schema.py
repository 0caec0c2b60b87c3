"""The plan's format as data: sections and keys, by the names that are written in TOML."""

from collections.abc import Iterator

from pydantic.fields import FieldInfo

from sealora.plan.locator import Key
from sealora.plan.settings import PlanSettings
from sealora.protocol.settings import Settings


def fields(model: type[Settings]) -> dict[str, FieldInfo]:
    """The keys of one section in the order of their definition."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def section(info: FieldInfo) -> type[Settings] | None:
    """The section that a key holds, or None for a plain value."""
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def sections() -> Iterator[tuple[str, type[Settings]]]:
    """The sections of a plan by name."""
    for name, info in fields(PlanSettings).items():
        kind = section(info)
        if kind is not None:
            yield name, kind


def section_at(key: Key, root: type[Settings]) -> type[Settings] | None:
    """The section in which the last part of `key` stands; None inside plain values."""
    kind: type[Settings] | None = root
    for part in key[:-1]:
        info = fields(kind).get(str(part)) if kind is not None else None
        kind = section(info) if info is not None else None
    return kind

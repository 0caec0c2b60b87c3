"""Audit logs on the screen, for sites and for the coordinator."""

import json
from dataclasses import asdict
from pathlib import Path

from sealora.privacy.audit_log import AUDIT_LOG, Record, read_records
from sealora.privacy.chain import ChainKind, read_chain, unfinished
from sealora.protocol.errors import UsageError


def records(path: Path) -> list[Record]:
    """The records of a log. Raises UsageError if there is none, DataError if it is damaged."""
    if not path.is_file():
        raise UsageError(f"there is no log at {path}.", "Name the folder with --dir.")
    return read_records(path)


def show_log(path: Path, last: int, as_json: bool) -> None:
    """Print a log, a line for each record; `last` of them, or all for 0."""
    found = records(path)
    for record in found[-last:] if last else found:
        print(json.dumps(asdict(record)) if as_json else _line(record))


def verified(path: Path, kind: ChainKind = AUDIT_LOG) -> dict[str, object]:
    """Lines and head of a chained file whose links all hold, and the bytes after them that are no line.

    Raises DataError if a link does not hold.
    """
    heads = [head for _, head in read_chain(path, kind)]
    head = heads[-1].hex() if heads else ""
    return {"file": path.name, "lines": len(heads), "head": head, "torn": unfinished(path)}


def show_verified(found: list[dict[str, object]], as_json: bool) -> None:
    """Print what was verified."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for facts in found:
        torn = f"; then {facts['torn']} bytes that are no line" if facts.get("torn") else ""
        head = facts["head"] or "-"
        print(f"{facts['file']}: {facts['lines']} lines follow from one another; head {head}{torn}")


def _line(record: Record) -> str:
    arrow = {"in": "<-", "out": "->", "local": "  "}[record.direction]
    size = f" {record.size:,} bytes" if record.size else ""
    facts = " ".join(f"{name}={_short(value)}" for name, value in record.detail.items())
    return f"{record.time} {arrow} {record.kind}{size} {facts}".rstrip()


def _short(value: object) -> str:
    text = str(value)
    shown = text if len(text) <= 40 or " " in text else f"{text[:16]}…"
    return "".join(character if character.isprintable() else "?" for character in shown)

"""Cleaning: which rows of a site's table can be used, and why the others cannot.

The report names reasons, counts and row numbers, never the contents of a row.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import datasets

from sealora.models.settings import DataSettings
from sealora.models.table import MISSING, cell_text, check_column, group_name
from sealora.models.task import Task
from sealora.protocol.errors import DataError

REASONS = {
    "empty_text": "empty text",
    "missing_label": "missing label",
    "unknown_label": "unknown label",
    "missing_group": "missing group",
    "duplicate": "repeated row",
    "conflicting_label": "repeated text with another label",
    "too_long": "too long",
}
"""Why a row is dropped, in the order of the checks; a row counts under the first that applies."""
UNKNOWN = object()
"""Stands for the target of a label that the task does not know."""
EXAMPLES = 3
"""Most row numbers reported for one reason."""
BATCH = 1024
"""Rows tokenised at once."""


@dataclass(frozen=True)
class CleanRow:
    """A usable row: its index in the table, class name, target, and truncated token ids.

    `group` is empty unless the settings name a group column.
    """

    index: int
    label: str
    target: Any
    tokens: tuple[int, ...]
    group: str = ""


@dataclass(frozen=True)
class CleaningReport:
    """What cleaning did to one site's table. Row numbers count from 1 in that table."""

    rows_read: int
    rows_kept: int
    dropped: Mapping[str, int]
    """Dropped rows by reason, one of `REASONS`; only reasons that occurred."""
    truncated: int
    """Kept rows whose text was cut at `task.max_length` tokens."""
    examples: Mapping[str, tuple[int, ...]]
    """The first few row numbers for every reason in `dropped`."""
    labels: Mapping[str, int]
    """Kept rows by label."""
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report for people, one fact in a line."""
        lines = [f"{self.rows_kept} of {self.rows_read} rows kept"]
        for reason, count in self.dropped.items():
            lines.append(f"{count} dropped: {REASONS[reason]} ({_row_text(self.examples[reason], count)})")
        if self.truncated:
            lines.append(f"{self.truncated} kept but cut at the longest length")
        return lines + [f"warning: {warning}" for warning in self.warnings]

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "rows_read": self.rows_read,
            "rows_kept": self.rows_kept,
            "dropped": dict(self.dropped),
            "truncated": self.truncated,
            "examples": {reason: list(rows) for reason, rows in self.examples.items()},
            "labels": dict(self.labels),
            "warnings": list(self.warnings),
        }


class Labels:
    """Turns the cells of a label column into class names and targets."""

    def __init__(self, task: Task, label_map: Mapping[str, str]) -> None:
        self._task = task
        self._map = label_map
        self._separate = task.settings.multi_label
        self._known = {*task.settings.labels, *label_map}
        self._targets: dict[str, Any] = {}

    def name(self, cell: object) -> str | None:
        """The class name that a cell stands for (known to the task or not), or None if it is missing."""
        text = cell_text(cell)
        if text is None:
            return None
        parts = text.split("|") if self._separate else [text]
        spelled = [self._spelling(part.strip()) for part in parts]
        return "|".join(sorted({self._map.get(part, part) for part in spelled if part})) or None

    def _spelling(self, text: str) -> str | None:
        if text in self._known:
            return text
        # A label of the plan may be spelled like a missing one, and is then known.
        if text.lower() in MISSING:
            return None
        # A table writer that met a missing value has turned 1 into 1.0 in the whole column.
        return text.removesuffix(".0") if text.removesuffix(".0").lstrip("-").isdecimal() else text

    def target(self, name: str) -> Any:
        """The task's target of a class name, or `UNKNOWN` if the task does not know it."""
        if name not in self._targets:
            try:
                self._targets[name] = self._task.label(name)
            except DataError:
                self._targets[name] = UNKNOWN
        return self._targets[name]


class _Sieve:
    """Collects dropped rows by reason while cleaning goes through a table once."""

    def __init__(self, drop_duplicates: bool) -> None:
        self._drop_duplicates = drop_duplicates
        self._seen: dict[str, str] = {}
        self.dropped: Counter[str] = Counter()
        self.examples: defaultdict[str, list[int]] = defaultdict(list)
        self.strange: set[str] = set()

    def drop(self, reason: str, index: int) -> None:
        self.dropped[reason] += 1
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append(index + 1)

    def reason(self, text: str, name: str | None, target: Any, group: str | None) -> str:
        """Why a row cannot be used, before its length is known; empty if it can.

        `group` is empty where it is missing, and None where none is needed.
        """
        if not text:
            return "empty_text"
        if name is None:
            return "missing_label"
        if target is UNKNOWN:
            self.strange.add(name)
            return "unknown_label"
        if group == "":
            return "missing_group"
        return self._repeated(text, name) if self._drop_duplicates else ""

    def _repeated(self, text: str, name: str) -> str:
        earlier = self._seen.setdefault(text, "")
        if not earlier:
            self._seen[text] = name
            return ""
        return "duplicate" if earlier == name else "conflicting_label"


def clean(
    table: datasets.Dataset, settings: DataSettings, task: Task, tokenizer: Any
) -> tuple[list[CleanRow], CleaningReport]:
    """The usable rows of one site's table in its order, and the report.

    Empty texts, missing and unknown labels, missing groups (where a group column is named), repeated
    rows and (with `too_long = "drop"`) texts of more than `task.settings.max_length` tokens are dropped.
    Of rows with the same text and different labels the first stays. `tokenizer` is a fast tokenizer;
    special tokens are added.
    Raises DataError if a column is missing or no row is left.
    """
    check_column(table, settings.text_column, "data.text_column")
    check_column(table, settings.label_column, "data.label_column")
    if settings.group_column:
        check_column(table, settings.group_column, "data.group_column")
    sieve = _Sieve(settings.drop_duplicates)
    candidates = _candidates(table, settings, Labels(task, settings.label_map), sieve)
    rows: list[CleanRow] = []
    truncated = 0
    tokenised = _tokenise([text for text, _ in candidates], tokenizer, task)
    for (_, row), (tokens, cut) in zip(candidates, tokenised, strict=True):
        if cut and settings.too_long == "drop":
            sieve.drop("too_long", row.index)
            continue
        truncated += cut
        rows.append(replace(row, tokens=tokens))
    report = _report(len(table), rows, truncated, sieve, task)
    if not rows:
        raise _nothing_left(report, sieve, task)
    return rows, report


def _candidates(
    table: datasets.Dataset, settings: DataSettings, labels: Labels, sieve: _Sieve
) -> list[tuple[str, CleanRow]]:
    """Rows that are fine but for their length, each with its text in place of tokens."""
    candidates = []
    groups = map(group_name, table[settings.group_column]) if settings.group_column else repeat(None)
    cells = zip(table[settings.text_column], table[settings.label_column], strict=True)
    for index, ((text_cell, label_cell), group) in enumerate(zip(cells, groups, strict=False)):
        text = (cell_text(text_cell) or "").strip()
        name = labels.name(label_cell)
        target = UNKNOWN if name is None else labels.target(name)
        reason = sieve.reason(text, name, target, group)
        if reason:
            sieve.drop(reason, index)
        else:
            candidates.append((text, CleanRow(index, name or "", target, (), group or "")))
    return candidates


def _tokenise(texts: Sequence[str], tokenizer: Any, task: Task) -> Iterable[tuple[tuple[int, ...], bool]]:
    """Token ids of every text, at most `max_length`, and whether the text was longer."""
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            list(texts[start : start + BATCH]),
            truncation=True,
            max_length=task.settings.max_length,
            add_special_tokens=True,
        )
        for encoding in batch.encodings:
            yield tuple(encoding.ids), bool(encoding.overflowing)


def _report(
    rows_read: int, rows: Sequence[CleanRow], truncated: int, sieve: _Sieve, task: Task
) -> CleaningReport:
    found = Counter(row.label for row in rows)
    known = [label for label in task.settings.labels if label in found]
    labels = {label: found[label] for label in [*known, *sorted(set(found) - set(known))]}
    reasons = [reason for reason in REASONS if sieve.dropped[reason]]
    return CleaningReport(
        rows_read=rows_read,
        rows_kept=len(rows),
        dropped={reason: sieve.dropped[reason] for reason in reasons},
        truncated=truncated,
        examples={reason: tuple(sieve.examples[reason]) for reason in reasons},
        labels=labels,
        warnings=_warnings(labels, task),
    )


def _warnings(labels: Mapping[str, int], task: Task) -> tuple[str, ...]:
    if len(labels) == 1 and len(task.settings.labels) > 1:
        return (f"all rows have the label {next(iter(labels))!r}; the site still takes part.",)
    return ()


def _nothing_left(report: CleaningReport, sieve: _Sieve, task: Task) -> DataError:
    if sieve.strange and set(report.dropped) <= {"empty_text", "missing_label", "unknown_label"}:
        return DataError(
            f"no row has one of the labels {', '.join(task.settings.labels)}: "
            f"{report.dropped['unknown_label']} of {report.rows_read} rows carry "
            f"{len(sieve.strange)} other value(s).",
            "Map them to these labels with data.label_map, or correct data.label_column.",
        )
    counts = ", ".join(f"{REASONS[reason]}: {count}" for reason, count in report.dropped.items())
    message = f"none of {report.rows_read} rows can be used ({counts or 'the table is empty'})."
    columns = ["data.text_column", "data.label_column"]
    columns += ["data.group_column"] if "missing_group" in report.dropped else []
    return DataError(message, f"Check {', '.join(columns)} and the table.")


def _row_text(rows: Sequence[int], count: int) -> str:
    more = ", …" if count > len(rows) else ""
    return f"{'rows' if count > 1 else 'row'} {', '.join(map(str, rows))}{more}"

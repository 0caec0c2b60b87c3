"""Cleaning: which rows of a site's table can be used, and why the others cannot.

The report names reasons, counts and row numbers, never the contents of a row.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import datasets

from sealora.models.settings import DataSettings
from sealora.models.table import check_column, group_name
from sealora.models.task import Example, Record, Task, UnusableRow
from sealora.protocol.errors import DataError

REASONS = {
    "empty_text": "empty text",
    "missing_label": "missing label",
    "unknown_label": "unknown label",
    "empty_prompt": "empty prompt",
    "empty_response": "empty response",
    "bad_messages": "no conversation that ends with an answer",
    "bad_turns": "turns that the model's chat template does not take",
    "bad_tags": "words and tags that do not match",
    "missing_group": "missing group",
    "duplicate": "repeated row",
    "conflicting_label": "repeated text with another label",
    "too_long": "too long",
}
"""Why a row is dropped, in the order of the checks; a row counts under the first that applies."""
EXAMPLES = 3
"""Most row numbers reported for one reason."""


def words(reason: str) -> str:
    """A reason for people; one of a task's own is told as it is."""
    return REASONS.get(reason, reason)


@dataclass(frozen=True)
class CleanRow:
    """A usable row: its index in the table, its class name if the task has classes, and the example.

    `group` is empty unless the settings name a group column.
    """

    index: int
    label: str
    example: Example
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
            lines.append(f"{count} dropped: {words(reason)} ({_row_text(self.examples[reason], count)})")
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


class _Sieve:
    """Collects dropped rows by reason while cleaning goes through a table once."""

    def __init__(self, drop_duplicates: bool) -> None:
        self._drop_duplicates = drop_duplicates
        self._seen: dict[Hashable, Any] = {}
        self.dropped: Counter[str] = Counter()
        self.examples: defaultdict[str, list[int]] = defaultdict(list)
        self.strange: set[str] = set()

    def drop(self, reason: str, index: int) -> None:
        self.dropped[reason] += 1
        if len(self.examples[reason]) < EXAMPLES:
            self.examples[reason].append(index + 1)

    def admit(self, index: int, record: Record, group: str | None) -> bool:
        """Whether a row that the task can read is used; otherwise it is dropped.

        `group` is empty where it is missing, and None where none is needed.
        """
        reason = "missing_group" if group == "" else self._repeated(record)
        if reason:
            self.drop(reason, index)
        return not reason

    def _repeated(self, record: Record) -> str:
        if not self._drop_duplicates:
            return ""
        if record.content not in self._seen:
            self._seen[record.content] = record.target
            return ""
        return "duplicate" if self._seen[record.content] == record.target else "conflicting_label"


def clean(
    table: datasets.Dataset, settings: DataSettings, task: Task, tokenizer: Any
) -> tuple[list[CleanRow], CleaningReport]:
    """The usable rows of one site's table in its order, and the report.

    Rows that the task cannot read, missing groups (where a group column is named), repeated rows and
    (with `too_long = "drop"`) rows of more than `task.settings.max_length` tokens are dropped. Of rows with
    the same content and different targets the first stays. `tokenizer` is a fast tokenizer.
    Raises DataError if a column is missing or no row is left.
    """
    keys = task.card.columns(settings)
    for key in (*keys, *(["group_column"] if settings.group_column else [])):
        check_column(table, getattr(settings, key), f"data.{key}")
    sieve = _Sieve(settings.drop_duplicates)
    candidates = list(_candidates(table, settings, task, sieve))
    rows: list[CleanRow] = []
    truncated = 0
    encoded = task.encode([record for _, record, _ in candidates], tokenizer)
    for (index, record, group), (example, cut) in zip(candidates, encoded, strict=True):
        if isinstance(example, UnusableRow):
            sieve.drop(example.reason, index)
            continue
        if example is None or (cut and settings.too_long == "drop"):
            sieve.drop("too_long", index)
            continue
        truncated += cut
        rows.append(CleanRow(index, record.label, example, group or ""))
    report = _report(len(table), rows, truncated, sieve, task)
    if not rows:
        raise _nothing_left(report, sieve, task, keys)
    return rows, report


def _candidates(
    table: datasets.Dataset, settings: DataSettings, task: Task, sieve: _Sieve
) -> Iterator[tuple[int, Record, str | None]]:
    """Rows that are fine but for their length: index, record and group."""
    read = task.reader(settings)
    keys = task.card.columns(settings)
    groups = map(group_name, table[settings.group_column]) if settings.group_column else repeat(None)
    columns = [table[getattr(settings, key)] for key in keys]
    for index, (cells, group) in enumerate(zip(zip(*columns, strict=True), groups, strict=False)):
        try:
            record = read(dict(zip(keys, cells, strict=True)))
        except UnusableRow as unusable:
            sieve.drop(unusable.reason, index)
            if unusable.value:
                sieve.strange.add(unusable.value)
            continue
        if sieve.admit(index, record, group):
            yield index, record, group


def _report(
    rows_read: int, rows: Sequence[CleanRow], truncated: int, sieve: _Sieve, task: Task
) -> CleaningReport:
    found = Counter(row.label for row in rows if row.label)
    known = [label for label in task.settings.labels if label in found]
    labels = {label: found[label] for label in [*known, *sorted(set(found) - set(known))]}
    reasons = [*REASONS, *sorted(set(sieve.dropped) - set(REASONS))]
    reasons = [reason for reason in reasons if sieve.dropped[reason]]
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


def _nothing_left(report: CleaningReport, sieve: _Sieve, task: Task, keys: Sequence[str]) -> DataError:
    if sieve.strange and set(report.dropped) <= {"empty_text", "missing_label", "unknown_label"}:
        return DataError(
            f"no row has one of the labels {', '.join(task.settings.labels)}: "
            f"{report.dropped['unknown_label']} of {report.rows_read} rows carry "
            f"{len(sieve.strange)} other value(s).",
            f"Map them to these labels with data.label_map, or correct data.{keys[-1]}.",
        )
    counts = ", ".join(f"{words(reason)}: {count}" for reason, count in report.dropped.items())
    message = f"none of {report.rows_read} rows can be used ({counts or 'the table is empty'})."
    columns = [f"data.{key}" for key in keys]
    columns += ["data.group_column"] if "missing_group" in report.dropped else []
    return DataError(message, f"Check {', '.join(columns)} and the table.")


def _row_text(rows: Sequence[int], count: int) -> str:
    more = ", …" if count > len(rows) else ""
    return f"{'rows' if count > 1 else 'row'} {', '.join(map(str, rows))}{more}"

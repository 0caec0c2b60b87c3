"""A site's data, ready for training: cleaned, tokenised, and split into training and test rows."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import datasets

from sealora.models.cleaning import CleaningReport, clean
from sealora.models.settings import DataSettings
from sealora.models.table import seeded_order
from sealora.models.task import Example, Task
from sealora.protocol.errors import DataError


class Rows(Protocol):
    """A site's rows, in memory or read when they are asked for."""

    @property
    def train(self) -> list[Example]:
        """Rows to train on."""

    @property
    def test(self) -> list[Example]:
        """Rows held out."""

    @property
    def report(self) -> CleaningReport:
        """What cleaning found."""

    @property
    def sizes(self) -> tuple[int, int]:
        """How many rows there are to train on, and how many held out."""


@dataclass(frozen=True)
class SiteData:
    """Implements Rows: examples in the table's order. Contents stay out of the repr."""

    train: list[Example] = field(repr=False)
    test: list[Example] = field(repr=False)
    report: CleaningReport

    @property
    def sizes(self) -> tuple[int, int]:
        """See Rows."""
        return len(self.train), len(self.test)


def prepare(
    table: datasets.Dataset,
    task: Task,
    tokenizer: Any,
    settings: DataSettings,
    seed: int,
    site: str,
    *,
    hold_out: bool = True,
) -> SiteData:
    """Clean, tokenise (at most `task.settings.max_length` tokens) and split one site's rows.

    The split depends on (seed, site) alone, is stratified by label, and leaves at least one row on
    each side. With a privacy guarantee none is held out: the split would let one row move others, and
    metrics would be releases. Raises DataError, naming the site, if no row can be used, or only one where
    one is held out.
    """
    try:
        rows, report = clean(table, settings, task, tokenizer)
    except DataError as error:
        raise DataError(f"{site}: {error.message}", error.remedy) from None
    if hold_out and len(rows) < 2:
        message = f"{site}: only 1 of {report.rows_read} rows can be used."
        raise DataError(message, "A site needs one row to train on and one to test on: give it more rows.")
    labels = [row.label for row in rows]
    held_out = held_out_rows(labels, settings.test_fraction, seed, site) if hold_out else frozenset()
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row.group for row in rows))}
    examples = [replace(row.example, group=numbers[row.group]) if row.group else row.example for row in rows]
    train = [example for position, example in enumerate(examples) if position not in held_out]
    test = [example for position, example in enumerate(examples) if position in held_out]
    return SiteData(train, test, report)


def held_out_rows(labels: Sequence[str], fraction: float, seed: int, site: str) -> frozenset[int]:
    """Positions of the test rows: `held_out_counts` of every label, drawn with (seed, site)."""
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for position in seeded_order(len(labels), "split", seed, site).tolist():
        positions[labels[position]].append(position)
    counts = held_out_counts({label: len(positions[label]) for label in sorted(positions)}, fraction)
    return frozenset(position for label, count in counts.items() for position in positions[label][:count])


def held_out_counts(sizes: Mapping[str, int], fraction: float) -> dict[str, int]:
    """Test rows of every label, by largest remainders.

    They add up to the rounded share of all rows, but at least one and not all. A label's last row
    goes to training as long as another label can give one.
    """
    rows = sum(sizes.values())
    total = min(max(round(rows * fraction), 1), rows - 1)
    counts = {label: min(math.floor(size * fraction), size - 1) for label, size in sizes.items()}
    for _ in range(total - sum(counts.values())):
        # Ties go to the label that sorts first, so that every machine decides alike.
        open_labels = [label for label in sizes if counts[label] < sizes[label]]
        lacking = {label: sizes[label] * fraction - counts[label] for label in open_labels}
        counts[max(open_labels, key=lambda label: (counts[label] < sizes[label] - 1, lacking[label]))] += 1
    return counts

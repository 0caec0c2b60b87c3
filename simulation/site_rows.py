"""The rows of simulated sites: dealt at once, cleaned and tokenised when a site works, within bounds."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import datasets

from sealora.models.cleaning import CleaningReport
from sealora.models.site_data import SiteData, prepare
from sealora.models.table import draw_rows, read_table
from sealora.models.task import Example, Task, load_task
from sealora.plan.loader import Plan
from sealora.simulation.groups import deal

PREPARED_AT_ONCE = 200
"""Most sites whose rows are all prepared before the run begins, so that bad rows are found then."""
KEPT_ROWS = 100_000
"""Prepared rows that are kept; those of the site that worked last longest ago are dropped first."""


class DealtRows:
    """Which rows of the plan's table are whose.

    Raises DataError or UsageError if the table cannot be used or dealt.
    """

    def __init__(self, plan: Plan) -> None:
        columns = load_task(plan.task).card.columns(plan.data)
        self.table: datasets.Dataset = draw_rows(read_table(plan.data, columns), plan.data.rows, plan.seed)
        self.shares: Mapping[str, Sequence[int]] = deal(self.table, plan.data, plan.simulation, plan.seed)
        self._plan = plan

    def tables(self) -> dict[str, datasets.Dataset]:
        """The rows of every site as they stand in the table."""
        return {site: self.table.select(rows) for site, rows in self.shares.items()}

    def prepare(self, site: str, task: Task, tokenizer: Any) -> SiteData:
        """One site's rows. Raises DataError if they are too few."""
        plan = self._plan
        rows = self.table.select(self.shares[site])
        return prepare(rows, task, tokenizer, plan.data, plan.seed, site, hold_out=not plan.privacy.private)


class SiteRows:
    """All sites' rows by site, each an object that implements `Rows`.

    Those of few sites are prepared now; of many, each when it is first needed, and again if it was dropped.
    """

    def __init__(self, dealt: DealtRows, task: Task, tokenizer: Any, kept_rows: int = KEPT_ROWS) -> None:
        self._dealt = dealt
        self._task = task
        self._tokenizer = tokenizer
        self._kept_rows = kept_rows
        self._kept: OrderedDict[str, SiteData] = OrderedDict()
        self._rows = 0
        self._lock = threading.Lock()
        self.at_once = len(dealt.shares) <= PREPARED_AT_ONCE
        """Whether all rows are prepared before the run, and stay."""

    def of(self, site: str) -> "SiteData | LazyRows":
        """The rows of a site. Raises DataError at once, or for a site of many when they are needed."""
        if self.at_once:
            return self._dealt.prepare(site, self._task, self._tokenizer)
        return LazyRows(self, site)

    def get(self, site: str) -> SiteData:
        """The rows of a site, prepared. Raises DataError if they cannot be used."""
        with self._lock:
            if site in self._kept:
                self._kept.move_to_end(site)
                return self._kept[site]
        data = self._dealt.prepare(site, self._task, self._tokenizer)
        with self._lock:
            if site not in self._kept:
                self._kept[site] = data
                self._rows += data.report.rows_kept
            while self._rows > self._kept_rows and len(self._kept) > 1:
                self._rows -= self._kept.popitem(last=False)[1].report.rows_kept
        return data


class LazyRows:
    """Implements Rows for one of many sites; only the report stays in memory."""

    def __init__(self, rows: SiteRows, site: str) -> None:
        self._rows = rows
        self._site = site
        self._report: CleaningReport | None = None
        self._sizes = (0, 0)

    @property
    def train(self) -> list[Example]:
        """See Rows. Raises DataError if they cannot be used."""
        return self._get().train

    @property
    def test(self) -> list[Example]:
        """See Rows. Raises DataError if they cannot be used."""
        return self._get().test

    @property
    def report(self) -> CleaningReport:
        """See Rows. Raises DataError if they cannot be used."""
        return self._report or self._get().report

    @property
    def sizes(self) -> tuple[int, int]:
        """See Rows. Raises DataError if they cannot be used."""
        if self._report is None:
            self._get()
        return self._sizes

    def _get(self) -> SiteData:
        data = self._rows.get(self._site)
        self._report, self._sizes = data.report, data.sizes
        return data

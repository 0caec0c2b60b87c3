"""Rows of many sites: the same as those of few, and no more of them in memory than allowed."""

import pytest

from sealora.models.task import load_task
from sealora.plan.loader import load
from sealora.protocol.errors import DataError
from sealora.simulation import site_rows
from sealora.simulation.site_rows import DealtRows, LazyRows, SiteRows


@pytest.fixture
def plan(tiny, tmp_path):
    return load(tiny.plan(tmp_path, ("sites = 5", "sites = 10")))


def rows_of(plan, tokenizer, **options):
    return SiteRows(DealtRows(plan), load_task(plan.task), tokenizer, **options)


def test_lazy_rows_are_those_of_eager_ones(plan, tiny_tokenizer, monkeypatch):
    eager = rows_of(plan, tiny_tokenizer)
    monkeypatch.setattr(site_rows, "PREPARED_AT_ONCE", 9)
    lazy = rows_of(plan, tiny_tokenizer)
    assert (eager.at_once, lazy.at_once) == (True, False)
    for site in ("site-01", "site-10"):
        now, later = eager.of(site), lazy.of(site)
        assert isinstance(later, LazyRows)
        assert (later.sizes, later.report) == (now.sizes, now.report)
        assert (later.train, later.test) == (now.train, now.test)
        assert later.sizes == (8, 2)


def test_what_worked_last_longest_ago_is_dropped_first(plan, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(site_rows, "PREPARED_AT_ONCE", 0)
    rows, prepared = rows_of(plan, tiny_tokenizer, kept_rows=20), []
    prepare = DealtRows.prepare
    monkeypatch.setattr(
        DealtRows,
        "prepare",
        lambda dealt, site, *given: prepared.append(site) or prepare(dealt, site, *given),
    )
    sites = {site: rows.of(site) for site in ("site-01", "site-02", "site-03")}
    assert prepared == [], "registered, but not yet at work"
    for site in ("site-01", "site-02", "site-01", "site-03", "site-01", "site-02"):
        assert len(sites[site].train) == 8
    assert prepared == ["site-01", "site-02", "site-03", "site-02"]
    assert sites["site-03"].report.rows_kept == 10
    assert sites["site-03"].sizes == (8, 2)
    assert len(prepared) == 4, "reports stay"


def test_unusable_rows_of_many_sites_are_found_when_they_are_needed(plan, tiny_tokenizer, monkeypatch):
    plan = plan.replace(data={"label_map": {}}, task={"labels": ["other", "labels"]})
    with pytest.raises(DataError, match="site-01: "):
        rows_of(plan, tiny_tokenizer).of("site-01")
    monkeypatch.setattr(site_rows, "PREPARED_AT_ONCE", 0)
    lazy = rows_of(plan, tiny_tokenizer).of("site-01")
    with pytest.raises(DataError, match="site-01: "):
        _ = lazy.train

"""Partitions: every row goes to exactly one site, the same one for the same seed."""

import sys
from collections import Counter
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.plan.settings import SimulationSettings
from sealora.protocol.errors import DataError, UsageError
from sealora.simulation.partition import partition


def table(rows: int, labels: int = 2) -> datasets.Dataset:
    hospitals = ["Nord", "Süd / Klinik", "北京医院"]
    return datasets.Dataset.from_dict(
        {
            "text": [f"text {row}" for row in range(rows)],
            "label": [str(row % labels) for row in range(rows)],
            "hospital": [hospitals[row % 3] for row in range(rows)],
        }
    )


def deal(rows: datasets.Dataset, seed: int = 0, **options: Any) -> dict[str, list[int]]:
    return partition(rows, SimulationSettings(**options), "label", seed)


KINDS: dict[str, dict[str, Any]] = {
    "iid": {"partition": "iid"},
    "dirichlet": {"partition": "dirichlet"},
    "natural": {"partition": "natural", "partition_column": "hospital"},
    "linear": {"partition": "size", "size_rule": "linear"},
    "square": {"partition": "size", "size_rule": "square"},
    "exponential": {"partition": "size", "size_rule": "exponential"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_goes_to_one_site(kind: str) -> None:
    sites = deal(table(400), sites=5, minimum_rows=2, **KINDS[kind])
    assert sorted(row for rows in sites.values() for row in rows) == list(range(400))
    assert all(rows == sorted(rows) and len(rows) >= 2 for rows in sites.values())
    assert len(sites) == (3 if kind == "natural" else 5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind: str) -> None:
    options = {"sites": 4, "minimum_rows": 2, **KINDS[kind]}
    first = deal(table(200), seed=1, **options)
    assert first == deal(table(200), seed=1, **options)
    assert (first == deal(table(200), seed=2, **options)) == (kind == "natural")


@given(
    rows=st.integers(20, 120),
    sites=st.integers(1, 6),
    labels=st.integers(1, 4),
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**63 - 1),
)
@settings(deadline=None, max_examples=40)
def test_a_partition_is_a_partition_or_a_clear_refusal(
    rows: int, sites: int, labels: int, kind: str, seed: int
) -> None:
    remedy = ""
    try:
        dealt = deal(table(rows, labels), seed=seed, sites=sites, minimum_rows=3, **KINDS[kind])
    except UsageError as error:
        dealt, remedy = {}, error.remedy
    assert remedy or sorted(row for part in dealt.values() for row in part) == list(range(rows))
    assert min(map(len, dealt.values()), default=3) >= 3


def test_iid_sites_are_of_equal_size_and_mixed() -> None:
    rows = datasets.Dataset.from_dict({"label": ["0"] * 200 + ["1"] * 200})
    sites = deal(rows, sites=4)
    assert [len(part) for part in sites.values()] == [100] * 4
    for part in sites.values():
        assert 30 <= sum(row < 200 for row in part) <= 70


def test_a_small_alpha_skews_labels_and_a_large_one_does_not() -> None:
    def spread(alpha: float) -> float:
        sites = deal(table(1000), sites=4, partition="dirichlet", dirichlet_alpha=alpha)
        return float(np.std([np.mean([row % 2 for row in part]) for part in sites.values()]))

    assert spread(0.2) > 0.15 > 0.05 > spread(1000.0)


@pytest.mark.parametrize(("rule", "sizes"), [("linear", [10, 20, 30, 40]), ("square", [3, 13, 30, 54])])
def test_sizes_follow_their_rule(rule: str, sizes: list[int]) -> None:
    dealt = deal(table(100), sites=4, minimum_rows=2, partition="size", size_rule=rule)
    assert [len(part) for part in dealt.values()] == sizes


def test_names_are_numbered_with_as_many_digits_as_needed() -> None:
    assert list(deal(table(20), sites=2)) == ["site-01", "site-02"]
    names = list(deal(table(240), sites=120, minimum_rows=2))
    assert (names[0], names[-1]) == ("site-001", "site-120")


def test_natural_names_are_readable_safe_and_distinct() -> None:
    values = ["a/b", "a b", "../etc", "  ", "***", "北京 医院", "x" * 99, 7.0]
    rows = datasets.Dataset.from_dict(
        {"label": ["0"] * 16, "who": [str(v) for v in values for _ in range(2)]}
    )
    sites = deal(rows, partition="natural", partition_column="who", minimum_rows=2)
    assert set(sites) == {"a-b", "a-b-2", "etc", "site", "site-2", "北京-医院", "x" * 40, "7.0"}


def test_natural_sites_follow_the_column() -> None:
    assert deal(table(60), **KINDS["natural"])["Nord"] == list(range(0, 60, 3))


def test_missing_labels_can_be_dealt_by_label_too() -> None:
    rows = datasets.Dataset.from_dict({"label": ["0", "1", None] * 40})
    sites = deal(rows, sites=2, partition="dirichlet", dirichlet_alpha=100.0)
    assert Counter(len(part) >= 10 for part in sites.values()) == {True: 2}


def test_dealing_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    deal(table(60), **KINDS["natural"])
    deal(table(400), sites=8, partition="dirichlet", dirichlet_alpha=0.3)
    assert capfd.readouterr() == ("", "")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too few rows": ({"sites": 11}, "100 rows are too few for 11 sites of 10 or more. Use at most 10"),
    "too small a site": (
        {"sites": 5, "partition": "size", "size_rule": "square"},
        "the smallest site would have 1 rows, fewer than simulation.minimum_rows = 10. Use fewer sites",
    ),
    "an empty site": (
        {"sites": 10, "minimum_rows": 2, "partition": "size", "size_rule": "exponential"},
        "the smallest site would have 0 rows",
    ),
    "too small an alpha": (
        {"sites": 5, "partition": "dirichlet", "dirichlet_alpha": 1e-3},
        "dirichlet_alpha = 0.001 gave each of 5 sites 10 rows. Use fewer sites, a larger alpha",
    ),
    "no column": ({"partition": "natural"}, "Set simulation.partition_column."),
    "a wrong column": (
        {"partition": "natural", "partition_column": "hospitals"},
        "Did you mean 'hospital'? Set simulation.partition_column.",
    ),
    "small natural sites": (
        {"partition": "natural", "partition_column": "hospital", "minimum_rows": 34},
        "2 of 3 sites in 'hospital' have fewer than simulation.minimum_rows = 34 rows (the smallest 33).",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_impossible_partition_is_refused_with_a_remedy(case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        deal(table(100), **options)
    assert message in str(caught.value)
    assert caught.value.remedy
    assert caught.value.exit_code == 2


def test_rows_without_a_site_are_refused() -> None:
    rows = datasets.Dataset.from_dict({"label": ["0"] * 4, "who": ["a", "a", None, ""]})
    with pytest.raises(DataError, match="2 rows have no value in 'who'"):
        deal(rows, partition="natural", partition_column="who", minimum_rows=2)


def test_without_flwr_datasets_the_remedy_is_an_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flwr_datasets.partitioner", None)
    with pytest.raises(UsageError, match=r"sealora\[simulation\]"):
        deal(table(100), partition="size")

"""A site's data: the split is seeded, stratified, and leaves rows on both sides."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sealora.models.classification import Classification
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.site_data import SiteData, held_out_counts, held_out_rows, prepare
from sealora.protocol.errors import DataError

LABELS = ("a", "b", "c")


def number_tokenizer() -> Any:
    """The text "17" becomes the single token 17."""
    tokenizer = Tokenizer(models.WordLevel({str(n): n for n in range(500)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


TOKENIZER = number_tokenizer()


def run(labels: Sequence[str], seed: int = 0, site: str = "site-01", **options: Any) -> SiteData:
    table = datasets.Dataset.from_dict({"text": [str(n) for n in range(len(labels))], "label": list(labels)})
    return prepare(
        table, Classification(TaskSettings(labels=LABELS)), TOKENIZER, DataSettings(**options), seed, site
    )


def rows_of(examples: Sequence[Any]) -> list[int]:
    return [example.tokens[0] for example in examples]


def test_every_row_is_on_one_side_in_the_tables_order() -> None:
    data = run("abc" * 20)
    train, test = rows_of(data.train), rows_of(data.test)
    assert sorted(train + test) == list(range(60))
    assert train == sorted(train)
    assert test == sorted(test)
    assert all(example.target == example.tokens[0] % 3 for example in data.train + data.test)


def test_with_a_guarantee_all_rows_train_and_one_is_enough() -> None:
    """Whether a site has one usable row or two is a fact about a row."""
    task, settings = Classification(TaskSettings(labels=LABELS)), DataSettings()
    for count in (1, 2, 20):
        table = datasets.Dataset.from_dict({"text": [str(n) for n in range(count)], "label": ["a"] * count})
        data = prepare(table, task, TOKENIZER, settings, 0, "s", hold_out=False)
        assert rows_of(data.train) == list(range(count))
        assert data.test == []
    empty = datasets.Dataset.from_dict({"text": [""], "label": ["a"]})
    with pytest.raises(DataError, match="s: none of 1 rows can be used"):
        prepare(empty, task, TOKENIZER, settings, 0, "s", hold_out=False)


def test_groups_are_numbered_by_their_first_rows() -> None:
    table = datasets.Dataset.from_dict(
        {"text": ["1", "2", "3", "4"], "label": list("aaaa"), "p": list("yxyz")}
    )
    task = Classification(TaskSettings(labels=LABELS))
    data = prepare(table, task, TOKENIZER, DataSettings(group_column="p"), 0, "s")
    assert {example.tokens[0]: example.group for example in data.train + data.test} == {
        1: 0,
        2: 1,
        3: 0,
        4: 2,
    }
    assert {example.group for example in run("ab" * 5).train} == {None}


def test_the_split_keeps_the_mix_of_labels() -> None:
    data = run("a" * 50 + "b" * 30 + "c" * 20, test_fraction=0.3)
    assert Counter(example.target for example in data.test) == {0: 15, 1: 9, 2: 6}


def test_the_split_depends_on_seed_and_site_alone() -> None:
    labels = "ab" * 50
    first = rows_of(run(labels).test)
    assert first == rows_of(run(labels).test)
    assert first != rows_of(run(labels, seed=1).test)
    assert first != rows_of(run(labels, site="site-02").test)


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
@pytest.mark.parametrize("labels", ["ab", "aa", "abc", "aab"])
def test_the_smallest_sites_keep_a_row_on_each_side(labels: str, fraction: float) -> None:
    data = run(labels, test_fraction=fraction)
    assert data.train
    assert data.test


def test_a_single_usable_row_is_an_error_that_names_the_site() -> None:
    with pytest.raises(DataError, match=r"site-07: only 1 of 2 rows can be used\. .*more rows"):
        run(["a", "z"], site="site-07")


def test_an_error_of_cleaning_names_the_site_and_keeps_its_remedy() -> None:
    with pytest.raises(DataError, match=r"site-07: no row has one of the labels a, b, c") as caught:
        run(["x", "z"], site="site-07")
    assert "data.label_map" in caught.value.remedy


def test_contents_stay_out_of_the_repr() -> None:
    assert "Example" not in repr(run("abc"))


def test_rare_labels_stay_in_training() -> None:
    assert held_out_counts({"a": 97, "b": 1, "c": 2}, 0.2) == {"a": 20, "b": 0, "c": 0}
    assert held_out_counts({"a": 1, "b": 1}, 0.2) == {"a": 1, "b": 0}


sizes = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40), min_size=1).filter(
    lambda found: sum(found.values()) >= 2
)
fractions = st.floats(0.001, 0.999)


@given(sizes=sizes, fraction=fractions)
@settings(deadline=None)
def test_held_out_counts_add_up_and_stay_near_every_labels_share(
    sizes: dict[str, int], fraction: float
) -> None:
    counts = held_out_counts(sizes, fraction)
    rows = sum(sizes.values())
    assert sum(counts.values()) == min(max(round(rows * fraction), 1), rows - 1)
    assert all(0 <= counts[label] <= sizes[label] for label in sizes)
    for label, size in sizes.items():
        assert counts[label] >= min(int(size * fraction), size - 1)


@given(labels=st.lists(st.sampled_from("abc"), min_size=2, max_size=60), fraction=fractions)
@settings(deadline=None)
def test_held_out_rows_follow_the_counts(labels: list[str], fraction: float) -> None:
    found = Counter(labels[row] for row in held_out_rows(labels, fraction, 3, "site"))
    expected = held_out_counts(Counter(labels), fraction)
    assert sum(found.values()) == sum(expected.values())
    assert 0 < sum(found.values()) < len(labels)

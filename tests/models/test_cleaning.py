"""Cleaning: unusable rows are dropped for the right reason, counted, and never shown."""

import json
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sealora.models.classification import Classification
from sealora.models.cleaning import REASONS, CleaningReport, CleanRow, clean
from sealora.models.labels import Labels
from sealora.models.settings import DataSettings, TaskSettings
from sealora.protocol.errors import DataError

LABELS = ("negative", "positive")
NAN = float("nan")


def word_tokenizer() -> Any:
    """Words become [UNK] = 1, between [CLS] = 2 and [SEP] = 3."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "bad": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


TOKENIZER = word_tokenizer()


def run(
    rows: list[tuple[Any, Any]], multi_label: bool = False, max_length: int = 6, **options: Any
) -> tuple[list[CleanRow], CleaningReport]:
    texts, labels = zip(*rows, strict=True)
    table = datasets.Dataset.from_dict({"text": texts, "label": labels})
    task = Classification(TaskSettings(labels=LABELS, multi_label=multi_label, max_length=max_length))
    return clean(table, DataSettings(**options), task, TOKENIZER)


GOOD = ("fine", "positive")
DROPPED = {
    "empty_text": [(None, "positive"), ("", "positive"), (" \n", "negative")],
    "missing_label": [("a", None), ("a", ""), ("a", "nan"), ("a", "NaN"), ("a", "None"), ("a", " ")],
    "unknown_label": [("a", "neutral"), ("a", "Positive"), ("a", "0"), ("a", "positive|negative")],
    "duplicate": [GOOD, (" fine ", "positive")],
    "conflicting_label": [("fine", "negative")],
}


def grouped(groups: list[Any], labels: list[str] | None = None) -> tuple[list[CleanRow], CleaningReport]:
    texts = [f"fine {row}" for row in range(len(groups))]
    columns = {"text": texts, "label": labels or ["positive"] * len(groups), "patient": groups}
    task = Classification(TaskSettings(labels=LABELS, max_length=6))
    return clean(datasets.Dataset.from_dict(columns), DataSettings(group_column="patient"), task, TOKENIZER)


@pytest.mark.parametrize("missing", [None, "", " ", "nan", "NULL", "n/a"])
def test_a_row_without_a_group_is_dropped_for_that_reason(missing: str | None) -> None:
    rows, report = grouped(["p1", missing, "p2"])
    assert [(row.index, row.group) for row in rows] == [(0, "p1"), (2, "p2")]
    assert report.dropped == {"missing_group": 1}
    assert "1 dropped: missing group (row 2)" in report.lines()


def test_a_label_is_missed_before_a_group() -> None:
    assert grouped([None, "p"], ["", "positive"])[1].dropped == {"missing_label": 1}


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (["7", " 7 ", "7.0", "-3.0"], ["7", "7", "7", "-3"]),
        ([7.0, 8.0, NAN], ["7", "8"]),
        ([7, 8, None], ["7", "8"]),
        (["007", "7", "A.0", "a.0"], ["007", "7", "A.0", "a.0"]),
    ],
)
def test_spellings_of_a_group(groups: list[Any], names: list[str]) -> None:
    assert [row.group for row in grouped(groups)[0]] == names


def test_a_table_without_groups_says_which_column_to_check() -> None:
    with pytest.raises(DataError, match=r"missing group: 2.*data\.group_column and the table"):
        grouped([None, ""])


def test_without_a_group_column_no_row_has_one() -> None:
    assert run([GOOD])[0][0].group == ""


@pytest.mark.parametrize(
    ("reason", "row"), [(reason, row) for reason, rows in DROPPED.items() for row in rows]
)
def test_an_unusable_row_is_dropped_for_its_reason(reason: str, row: tuple[Any, Any]) -> None:
    rows, report = run([GOOD, row])
    assert [kept.index for kept in rows] == [0]
    assert report.dropped == {reason: 1}
    assert report.examples == {reason: (2,)}
    assert (report.rows_read, report.rows_kept) == (2, 1)


def test_a_nan_label_is_missing() -> None:
    rows, report = run([("a", 0.0), ("b", NAN), ("c", 1.0)], label_map={"0": "negative", "1": "positive"})
    assert [(row.index, row.label, row.example.target) for row in rows] == [
        (0, "negative", 0),
        (2, "positive", 1),
    ]
    assert report.dropped == {"missing_label": 1}


@pytest.mark.parametrize("cell", [1, 1.0, "1", "1.0", " 1 "])
def test_whole_numbers_are_one_label_however_they_are_written(cell: object) -> None:
    rows, _ = run([("a", cell)], label_map={"1": "positive"})
    assert rows[0].example.target == 1


def test_a_label_that_the_plan_knows_is_never_taken_for_missing_or_rewritten() -> None:
    labels = Labels(("none", "1.0"), {"NA": "none"})
    assert [labels.name(cell) for cell in ("none", "1.0", "NA", "None")] == ["none", "1.0", "none", None]


def test_multi_label_cells_are_sets_of_mapped_labels() -> None:
    rows, report = run(
        [("a", "1|0"), ("a", "0|1"), ("b", "positive"), ("c", "|"), ("d", "1|2"), ("e", None)],
        multi_label=True,
        label_map={"0": "negative", "1": "positive"},
    )
    assert [(row.index, row.example.target) for row in rows] == [(0, (1, 1)), (2, (0, 1))]
    assert report.dropped == {"missing_label": 2, "unknown_label": 1, "duplicate": 1}


def test_long_texts_are_cut_and_counted_or_dropped() -> None:
    table = [("good good good good", "positive"), ("bad bad bad bad bad", "negative")]
    rows, report = run(table)
    assert [row.example.tokens for row in rows] == [(2, 4, 4, 4, 4, 3), (2, 5, 5, 5, 5, 3)]
    assert (report.truncated, report.dropped) == (1, {})
    rows, report = run(table, too_long="drop")
    assert [row.index for row in rows] == [0]
    assert (report.truncated, report.dropped) == (0, {"too_long": 1})


def test_duplicates_stay_where_the_plan_says_so() -> None:
    rows, report = run([GOOD, GOOD, ("fine", "negative")], drop_duplicates=False)
    assert len(rows) == 3
    assert report.dropped == {}


def test_a_site_with_one_class_is_kept_with_a_warning() -> None:
    rows, report = run([("a", "positive"), ("b", "positive")])
    assert len(rows) == 2
    assert report.labels == {"positive": 2}
    assert report.warnings == ("all rows have the label 'positive'; the site still takes part.",)
    assert run([("a", "positive"), ("b", "negative")])[1].warnings == ()


def test_the_report_reads_well_and_shows_no_contents() -> None:
    secret = "patient 4711"
    rows = [(f"{secret} {n}", "negative") for n in range(2)] + [(secret, "secret-label")] * 5
    report = run([*rows, (None, "positive"), ("good " * 9, "positive")])[1]
    assert report.lines() == [
        "3 of 9 rows kept",
        "1 dropped: empty text (row 8)",
        "5 dropped: unknown label (rows 3, 4, 5, …)",
        "1 kept but cut at the longest length",
    ]
    shown = " ".join([*report.lines(), json.dumps(report.to_dict()), repr(report)])
    assert secret not in shown
    assert "secret-label" not in shown
    assert report.to_dict()["labels"] == {"negative": 2, "positive": 1}


def test_only_unknown_labels_names_the_known_ones_and_counts_the_others() -> None:
    with pytest.raises(DataError) as caught:
        run([("a", "pos"), ("b", "neg"), ("c", "pos"), (None, "positive")])
    assert caught.value.message == (
        "no row has one of the labels negative, positive: 3 of 4 rows carry 2 other value(s)."
    )
    assert "data.label_map" in caught.value.remedy


def test_no_usable_row_is_an_error_with_the_counts() -> None:
    with pytest.raises(DataError, match=r"none of 3 rows can be used \(empty text: 2, missing label: 1\)"):
        run([(None, "positive"), ("", "negative"), ("a", None)])


def test_an_empty_table_is_an_error() -> None:
    table = datasets.Dataset.from_dict({"text": [], "label": []})
    with pytest.raises(DataError, match="the table is empty"):
        clean(table, DataSettings(), Classification(TaskSettings(labels=LABELS)), TOKENIZER)


cells = st.one_of(
    st.none(), st.sampled_from(["", " ", "good", "bad bad bad bad bad", "nan"]), st.text(max_size=12)
)
label_cells = st.one_of(
    st.none(), st.sampled_from(["positive", "negative", "0", "1", "1.0", "nan", ""]), st.text(max_size=4)
)


@given(
    rows=st.lists(st.tuples(cells, label_cells), min_size=1, max_size=30),
    drop_duplicates=st.booleans(),
    drop_long=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_no_invalid_row_is_ever_kept(
    rows: list[tuple[Any, Any]], drop_duplicates: bool, drop_long: bool
) -> None:
    options = {"drop_duplicates": drop_duplicates, "label_map": {"0": "negative", "1": "positive"}}
    table = [*rows, ("surely fine", "positive")]
    kept, report = run(table, too_long="drop" if drop_long else "truncate", **options)
    meaning = {"positive": 1, "1": 1, "1.0": 1, "negative": 0, "0": 0, "0.0": 0}
    for row in kept:
        text, label = table[row.index]
        assert text is not None
        assert text.strip()
        assert row.example.target == meaning[label.strip()]
        assert 2 <= len(row.example.tokens) <= 6
    texts = [table[row.index][0].strip() for row in kept]
    assert not drop_duplicates or len(set(texts)) == len(texts)
    assert report.rows_kept + sum(report.dropped.values()) == report.rows_read == len(table)
    assert set(report.dropped) <= set(REASONS)
    assert sum(report.labels.values()) == len(kept)

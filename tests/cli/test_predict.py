"""`sealora predict`: texts from arguments, a file or standard input, as lines or as JSON."""

import io
import json

import pytest

from sealora.cli.predict import texts_of
from sealora.protocol.errors import UsageError


def standard_input(raw):
    return io.TextIOWrapper(io.BytesIO(raw), encoding="ascii")


@pytest.mark.slow
def test_lines_and_json_agree(finished, command):
    texts = ["good film", "bad story"]
    code, out, err = command("predict", finished, *texts)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[2] for line in lines] == texts
    code, out, _ = command("predict", finished, *texts, "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == texts
    assert [[row["label"], f"{row['scores'][row['label']]:.3f}"] for row in rows] == [
        line[:2] for line in lines
    ]


@pytest.mark.slow
def test_a_file_and_standard_input(finished, command, tmp_path, monkeypatch):
    (tmp_path / "texts.txt").write_text("good film\n\n  bad story \n")
    first = command("predict", finished, "--file", tmp_path / "texts.txt")
    monkeypatch.setattr("sys.stdin", standard_input(b"good film\nbad story"))
    assert command("predict", finished) == first
    assert first[0] == 0
    assert first[1].count("\n") == 2


def test_empty_lines_are_left_out(tmp_path):
    (tmp_path / "t").write_text("\n a\r\n\n 好 \n", encoding="utf-8")
    assert texts_of([], tmp_path / "t") == ["a", "好"]
    assert texts_of([" b ", ""], None) == ["b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"\xff", "is not UTF-8"),
        (b"\n", "no text to predict"),
    ],
)
def test_files_without_texts(tmp_path, content, message):
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        texts_of([], tmp_path / "t")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (None, "there is no text to predict."),
        (standard_input(b""), "there is no text to predict."),
        (standard_input("好 \xff".encode("latin-1", "replace")), "standard input is not UTF-8."),
    ],
)
def test_standard_input_without_texts(stream, message, monkeypatch):
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(UsageError, match=message):
        texts_of([], None)


def test_standard_input_is_utf_8_whatever_the_locale_is(monkeypatch):
    monkeypatch.setattr("sys.stdin", standard_input("\ufeff好\n".encode()))
    assert texts_of([], None) == ["好"]


def test_texts_and_a_file_exclude_each_other(tmp_path):
    with pytest.raises(UsageError, match=r"both texts and --file were given\. Give one of them\."):
        texts_of(["a"], tmp_path / "t")


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    (tmp_path / "t").write_text("good film")
    monkeypatch.setattr("sealora.cli.predict.MAX_BYTES", 8)
    with pytest.raises(UsageError, match="is larger than 8 bytes"):
        texts_of([], tmp_path / "t")

"""The file of the heads that sites signed."""

import pytest

from sealora.protocol.attempts import Head
from sealora.protocol.errors import ProtocolError, UsageError
from sealora.server.audit import open_head_book

KEY = bytes(32)


def head(count):
    return Head(count, bytes([count]) * 32)


def test_heads_are_remembered_over_a_restart(tmp_path):
    path = tmp_path / "state" / "heads.jsonl"
    open_head_book(path).note("a", KEY, head(2), head(3))
    book = open_head_book(path)
    with pytest.raises(ProtocolError, match="ledger went back from 3 records to 2"):
        book.note("a", KEY, head(3), head(2))
    assert len(path.read_text().splitlines()) == 2


def test_a_torn_line_is_dropped_and_written_again(tmp_path):
    path = tmp_path / "heads.jsonl"
    book = open_head_book(path)
    book.note("a", KEY, head(2), head(3))
    whole = path.read_bytes()
    book.note("a", KEY, head(3), head(4))
    path.write_bytes(path.read_bytes()[:-9])
    again = open_head_book(path)
    assert path.read_bytes() == whole
    again.note("a", KEY, head(3), head(4))
    open_head_book(path).note("a", KEY, head(4), head(5))


@pytest.mark.parametrize("content", [b"x\n", b"{}\n", b"[]\n", b'{"site": "a", "refused": ""}\n'])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "heads.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="was damaged"):
        open_head_book(path)
    assert path.read_bytes() == content

"""Files with one word a line."""

import pytest

from sealora.models.conll import read_conll
from sealora.protocol.errors import DataError

EXPECTED = {
    "tokens": [["Wolff", "played"], ["上", "\u3000", "海"]],
    "tags": [["B-PER", "O"], ["B-LOC", "M-LOC", "E-LOC"]],
}
FILES = {
    "spaces": "Wolff B-PER\nplayed O\n\n上 B-LOC\n\u3000 M-LOC\n海 E-LOC\n",
    "tabs and no last line end": "Wolff\tB-PER\nplayed\tO\n\n上\tB-LOC\n\u3000\tM-LOC\n海\tE-LOC",
    "another system's line ends": "Wolff B-PER \r\nplayed O \r\n\r\n上 B-LOC\r\n\u3000 M-LOC\r\n海 E-LOC\r\n",
    "a mark in front": "\ufeffWolff B-PER\nplayed O\n\n上 B-LOC\n\u3000 M-LOC\n海 E-LOC\n",
    "documents, more columns and empty lines": (
        "-DOCSTART- -X- O O\n\nWolff NNP I-NP B-PER\nplayed VBD I-VP O\n\n\n \t\n"
        "-DOCSTART- -X- -X- O\n上 x B-LOC\n\u3000 x M-LOC\n海 x E-LOC\n\n\n"
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_sentences_are_rows(tmp_path, name):
    path = tmp_path / "ward.conll"
    path.write_text(FILES[name], encoding="utf-8", newline="")
    assert read_conll(path) == EXPECTED


def test_a_word_without_a_tag_is_told_with_its_line(tmp_path):
    path = tmp_path / "ward.bmes"
    path.write_text("Wolff B-PER\nplayed\n")
    with pytest.raises(DataError, match=r"ward.bmes, line 2: has a word without a tag\.") as error:
        read_conll(path)
    assert "played" not in str(error.value)

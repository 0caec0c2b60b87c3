"""Conversations become turns by user, in clubs of four."""

import json

import pytest

from sealora.models import assets
from sealora.models.assets import load_bundled
from sealora.protocol.errors import DataError


def turn(sender, *texts):
    return [{"text": text, "sender": f"{sender:0>8}-and-more", "timestamp": ""} for text in texts]


@pytest.fixture
def conversations(tmp_path, monkeypatch):
    def write(*found):
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps({str(number): {"messages": turns} for number, turns in enumerate(found)}))
        monkeypatch.setattr(assets, "find", lambda asset: path)
        return load_bundled("chitchat").to_dict()

    return write


def test_a_turn_answers_the_one_before(conversations):
    table = conversations([turn("a", "hello", "you"), turn("b", "hi"), turn("a", " "), turn("b", "what")])
    assert table["prompt"] == ["hello\nyou"]
    assert table["response"] == ["hi"]
    assert table["user"] == ["user-0000000b"]


def test_clubs_are_of_users_who_wrote_as_much(conversations):
    table = conversations(*([turn("x", "hi"), *[turn(user, "a"), turn("x", "b")] * 3] for user in "abcde"))
    clubs = dict(zip(table["user"], table["club"], strict=True))
    assert clubs["user-0000000x"] == "1"
    assert sorted(clubs.values()) == ["1", "1", "1", "1", "2", "2"]


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', "no json", '{"a": {"messages": [[{}], [{}]]}}'])
def test_a_file_of_another_kind_is_one_line(tmp_path, monkeypatch, content):
    path = tmp_path / "dataset.json"
    path.write_text(content)
    monkeypatch.setattr(assets, "find", lambda asset: path)
    with pytest.raises(DataError, match="cannot be read"):
        load_bundled("chitchat")


@pytest.mark.parametrize("content", ["7", '[{"instruction": "a"}]'])
def test_instructions_of_another_kind_are_one_line(tmp_path, monkeypatch, content):
    path = tmp_path / "instructions.json"
    path.write_text(content)
    monkeypatch.setattr(assets, "find", lambda asset: path)
    with pytest.raises(DataError, match="cannot be read"):
        load_bundled("alpaca-en")

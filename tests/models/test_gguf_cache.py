"""A GGUF file is converted once, as a whole or not at all."""

import threading

import pytest

from sealora.models import gguf_cache
from sealora.models.gguf_cache import converted
from sealora.protocol.errors import ModelError


class Half:
    """Stands in for a model or a tokenizer, and counts how often it is written."""

    def __init__(self, name, breaks=False):
        self.name, self.breaks, self.written = name, breaks, 0

    def save_pretrained(self, folder):
        self.written += 1
        folder.mkdir(exist_ok=True)
        if self.breaks:
            raise KeyboardInterrupt
        (folder / self.name).write_text("")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF and more")
    return path


def stand_in(monkeypatch, *halves):
    monkeypatch.setattr(gguf_cache, "_read", lambda path: halves)
    return halves


def test_it_is_converted_once_and_for_its_content(file, monkeypatch):
    model, _ = stand_in(monkeypatch, Half("model"), Half("tokenizer"))
    folder = converted(file)
    assert {path.name for path in folder.iterdir()} == {"model", "tokenizer"}
    assert (converted(file), model.written) == (folder, 1)
    file.write_bytes(b"GGUF of another kind")
    assert converted(file) != folder


def test_who_asks_meanwhile_waits(file, monkeypatch):
    model, _ = stand_in(monkeypatch, Half("model"), Half("tokenizer"))
    asking = [threading.Thread(target=converted, args=[file]) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert model.written == 1


def test_an_interrupted_conversion_leaves_no_model(file, monkeypatch, tmp_path):
    stand_in(monkeypatch, Half("model"), Half("tokenizer", breaks=True))
    with pytest.raises(KeyboardInterrupt):
        converted(file)
    assert [path.suffix for path in (tmp_path / "cache" / "models").iterdir()] in ([], [".lock"])
    stand_in(monkeypatch, Half("model"), Half("tokenizer"))
    assert converted(file).is_dir()


def test_a_file_that_is_no_model_is_one_line(file):
    with pytest.raises(ModelError, match=r"tiny\.gguf is not a GGUF model that can be read") as caught:
        converted(file)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written(file, monkeypatch, tmp_path):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path / "taken"))
    with pytest.raises(ModelError, match="Let SEALORA_CACHE name a folder"):
        converted(file)

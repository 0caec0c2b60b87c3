"""Files out of a source archive: of the one archive that is known, and nothing else."""

import hashlib
import io
import tarfile
from dataclasses import replace

import pytest

from sealora.models.assets import Asset, find
from sealora.models.source_archive import extract
from sealora.protocol.errors import RunError

NAMED = Asset("made", "data", "made", "1", "made-1/data/rows.json", "instructions", "rows", "none")


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "made-1.tar.gz"
    with tarfile.open(path, "w:gz") as files:
        for name in ("made-1/data/rows.json", "made-1/setup.py"):
            member = tarfile.TarInfo(name)
            member.size = 2
            files.addfile(member, io.BytesIO(b"[]"))
        folder = tarfile.TarInfo("made-1/folder")
        folder.type = tarfile.DIRTYPE
        files.addfile(folder)
    return path


def known(archive, **changes):
    asset = replace(NAMED, archive=hashlib.sha256(archive.read_bytes()).hexdigest())
    return replace(asset, **changes)


def test_the_file_is_found_once_it_is_taken_out(archive, tmp_path):
    asset = known(archive)
    assert find(asset) is None
    path = extract(archive, asset)
    assert find(asset) == path
    assert path.read_bytes() == b"[]"
    assert [file.name for file in (tmp_path / "cache").rglob("*") if file.is_file()] == ["rows.json"]


def test_another_archive_is_refused(archive):
    asset = known(archive)
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(RunError, match=r"made==1 is not the one that Sealora knows"):
        extract(archive, asset)
    assert find(asset) is None


def test_a_folder_is_no_file(archive):
    with pytest.raises(RunError, match="is no file"):
        extract(archive, known(archive, path="made-1/folder"))

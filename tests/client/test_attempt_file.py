"""A site's attempt log on disk: what a full disk, a second process or a damaged file do to it."""

import os

import pytest

from sealora.client.attempt_file import AttemptFile
from sealora.protocol.errors import DataError, ProtocolError, RefusedError, RunError, UsageError

SITE = bytes(32)
FIRST, SECOND = bytes([1]) * 32, bytes([2]) * 32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "attempts.jsonl"


def full_disk(monkeypatch, room):
    """From now on only so many more bytes fit."""
    write, left = os.write, [room]

    def limited(descriptor, data):
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", limited)


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_full_disk_allows_nothing_until_there_is_room(path, monkeypatch, room):
    with AttemptFile(path, SITE) as file:
        file.log.release(FIRST)
        full_disk(monkeypatch, room)
        for _ in range(2):
            with pytest.raises(RunError, match="No space left"):
                file.log.release(SECOND)
        monkeypatch.undo()
        file.log.release(SECOND)
    with AttemptFile(path, SITE) as file:
        for session in (FIRST, SECOND):
            with pytest.raises(ProtocolError, match="have left before"):
                file.log.release(session)


def test_what_reached_the_file_though_it_was_not_synced_counts(path, monkeypatch):
    def fail(descriptor):
        raise OSError(5, "Input/output error")

    with AttemptFile(path, SITE) as file:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(RunError, match="Input/output"):
            file.log.release(FIRST)
        monkeypatch.undo()
        with pytest.raises(RunError, match="opened again"):
            file.log.close(FIRST)
        assert file.log.close(FIRST) is False, "its shares may have left"


def test_a_file_that_was_cut_while_the_disk_was_full_is_not_continued(path, monkeypatch):
    with AttemptFile(path, SITE) as file:
        before = path.read_bytes()
        file.log.release(FIRST)
        full_disk(monkeypatch, 0)
        path.write_bytes(before)
        with pytest.raises(RunError):
            file.log.release(SECOND)
        monkeypatch.undo()
        with pytest.raises(DataError, match="was cut"):
            file.log.release(SECOND)


def test_two_processes_do_not_share_it(path):
    with AttemptFile(path, SITE), pytest.raises(RefusedError, match="in use by another process"):
        AttemptFile(path, SITE)


def test_another_sites_and_a_damaged_one_are_refused(path):
    with AttemptFile(path, SITE) as file:
        file.log.release(FIRST)
    with pytest.raises(UsageError, match="another site"):
        AttemptFile(path, bytes([1]) * 32)
    path.write_bytes(path.read_bytes().replace(b"release", b"close"))
    with pytest.raises(DataError, match="damaged"):
        AttemptFile(path, SITE)


def test_a_closed_file_promises_nothing(path):
    file = AttemptFile(path, SITE)
    file.close()
    for _ in range(2):
        with pytest.raises(RunError, match="closed"):
            file.log.release(FIRST)

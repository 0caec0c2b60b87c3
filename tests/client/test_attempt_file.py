"""A site's attempt log on disk: what a full disk, a second process or a damaged file do to it."""

import os
from dataclasses import replace

import pytest

from sealora.client.attempt_file import AttemptFile
from sealora.protocol.attempts import Contribution
from sealora.protocol.errors import DataError, ProtocolError, RefusedError, RunError, UsageError
from sealora.protocol.messages import Header, Work

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


def test_a_log_of_another_version_is_not_taken_for_an_empty_one(path, monkeypatch):
    monkeypatch.setattr("sealora.client.attempt_file.FORMAT", "sealora-attempts-1")
    AttemptFile(path, SITE).close()
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"another version of Sealora.* new identity key"):
        AttemptFile(path, SITE)


@pytest.fixture
def header():
    return Header(bytes(32), bytes(16), 1, 1, Work.TRAIN, bytes(32), ("a", "b", "c"), 1, 1, 1)


def test_what_left_counts_after_a_restart(path, header):
    with AttemptFile(path, SITE) as file:
        file.log.begin(header)
        file.log.contribute(header, Contribution(FIRST, frozenset({SITE}), 3))
    with AttemptFile(path, SITE) as file:
        assert file.log.runs(header.plan_hash) == {header.run}
        assert file.log.entered(header) == 1
        evaluation = replace(header, work=Work.EVALUATE, round=2)
        assert [left.session for left in file.log.contributions(evaluation)] == [FIRST]


def test_a_closed_file_promises_nothing(path):
    file = AttemptFile(path, SITE)
    file.close()
    for _ in range(2):
        with pytest.raises(RunError, match="closed"):
            file.log.release(FIRST)

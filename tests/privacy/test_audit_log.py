"""The log holds what was recorded, by however many writers, and shows any later change."""

import json
import logging
import os
import stat
import threading
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora.privacy.audit_log import AuditLog, Record, Traffic, read_records, traffic
from sealora.privacy.chain import MAX_LINE
from sealora.protocol.errors import DataError, RunError, UsageError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DIGEST = bytes(range(32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def quick(monkeypatch):
    """Without waiting for a disk, for the tests that open hundreds of logs."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def opened(path, owner="ams"):
    return AuditLog(path, owner, lambda: NOON)


def written(path, count=3):
    with opened(path) as log:
        for number in range(count):
            log.record("masked", "out", number, DIGEST, {"round": number})
    return path.read_bytes()


def test_a_long_log_is_opened_without_being_held(path, quick):
    with opened(path) as log:
        for number in range(2000):
            log.record("refusal", "out", number, DIGEST, {"text": "x" * 900})
    tracemalloc.start()
    opened(path).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def test_the_format_is_a_promise(path):
    with opened(path) as log:
        head = log.record("open", "in", 7, DIGEST, {"round": 3})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["entry"] == {"format": "sealora-audit-1", "owner": "ams"}
    assert lines[1]["entry"] == {
        "time": "2026-03-01T12:00:00+00:00",
        "kind": "open",
        "direction": "in",
        "size": 7,
        "hash": DIGEST.hex(),
        "detail": {"round": 3},
    }
    assert lines[1]["link"] == head.hex()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_on_disk_before_it_returns(path, monkeypatch):
    calls, write, sync = [], os.write, os.fsync
    with opened(path) as log:
        monkeypatch.setattr(os, "write", lambda fd, data: (calls.append("write"), write(fd, data))[1])
        monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), sync(fd))[1])
        log.record("masked", "out", 1)
    assert calls == ["write", "sync"]


def test_a_log_goes_on(path):
    written(path, 2)
    written(path, 1)
    assert [record.size for record in read_records(path)] == [0, 1, 0]


def test_two_writers_take_turns(path):
    with opened(path) as one, opened(path) as other:
        for number in range(10):
            (one if number % 2 else other).record("masked", "out", number)
    assert [record.size for record in read_records(path)] == list(range(10))


def test_threads_take_turns(path, quick):
    with opened(path) as log:
        threads = [
            threading.Thread(target=lambda: [log.record("masked", "out", 1) for _ in range(20)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert traffic(read_records(path), "out") == {"masked": Traffic(80, 80)}


def test_traffic_is_by_kind_and_direction(path):
    with opened(path) as log:
        for kind, direction, size in [("open", "in", 9), ("masked", "out", 2), ("shares", "out", 1)]:
            log.record(kind, direction, size)
            log.record(kind, direction, size)
    records = read_records(path)
    assert traffic(records, "out") == {"masked": Traffic(2, 4), "shares": Traffic(2, 2)}
    assert traffic(records, "in") == {"open": Traffic(2, 18)}


def test_it_belongs_to_one_party(path):
    written(path)
    with pytest.raises(UsageError, match="not the audit log of ber"):
        opened(path, "ber")


def test_a_ledger_is_no_log(tmp_path):
    from sealora.privacy.accountants import RdpAccountant
    from sealora.privacy.ledger import Ledger

    Ledger(tmp_path / "ledger", "notes", "record", RdpAccountant()).close()
    with pytest.raises(UsageError, match="not the audit log"):
        opened(tmp_path / "ledger")
    with pytest.raises(UsageError, match="is not an audit log of this version"):
        read_records(tmp_path / "ledger")


def test_a_torn_tail_is_cut_off_and_that_is_logged(path, caplog):
    whole = written(path)
    path.write_bytes(whole[:-20])
    with caplog.at_level(logging.WARNING), opened(path) as log:
        log.record("masked", "out", 9)
    records = read_records(path)
    assert [(record.kind, record.size) for record in records[2:]] == [
        ("torn tail", len(whole.splitlines()[-1]) - 19),
        ("masked", 9),
    ]
    assert "cut off" in caplog.text


def test_a_tail_torn_by_another_writer_is_noticed_in_use(path):
    with opened(path) as log:
        log.record("masked", "out", 1)
        with path.open("ab") as file:
            file.write(b'{"entry":{"detail')
        log.record("masked", "out", 2)
    assert [record.kind for record in read_records(path)] == ["masked", "torn tail", "masked"]


def test_a_log_that_was_cut_or_replaced_in_use_records_nothing(path):
    with opened(path) as log:
        log.record("masked", "out", 1)
        first = path.read_bytes()
        log.record("masked", "out", 2)
        path.write_bytes(first)
        with pytest.raises(DataError, match="replaced or cut"):
            log.record("masked", "out", 3)
        path.unlink()
        with pytest.raises(DataError, match="replaced or cut"):
            log.record("masked", "out", 3)


def test_a_full_disk_stops_everything_until_there_is_room(path, monkeypatch):
    def fail(descriptor, data):
        raise OSError(28, "No space left on device")

    with opened(path) as log:
        monkeypatch.setattr(os, "write", fail)
        for _ in range(2):
            with pytest.raises(RunError, match="No space left"):
                log.record("masked", "out", 1)
        monkeypatch.undo()
        log.record("masked", "out", 2)
    assert [record.size for record in read_records(path)] == [2]


def test_a_log_that_was_cut_while_the_disk_was_full_is_not_continued(path, monkeypatch):
    def fail(descriptor, data):
        raise OSError(28, "No space left on device")

    with opened(path) as log:
        first = path.read_bytes()
        log.record("masked", "out", 1)
        monkeypatch.setattr(os, "write", fail)
        with pytest.raises(RunError):
            log.record("masked", "out", 2)
        monkeypatch.undo()
        path.write_bytes(first)
        for _ in range(2):
            with pytest.raises(DataError, match="replaced or cut"):
                log.record("masked", "out", 3)


def test_what_is_too_long_for_a_line_is_refused(path):
    with opened(path) as log:
        with pytest.raises(UsageError, match="too long"):
            log.record("refusal", "out", 1, detail={"text": "x" * MAX_LINE})
        log.record("refusal", "out", 1)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.text(max_size=20),
            st.sampled_from(["in", "out", "local"]),
            st.integers(0, 2**53),
            st.binary(max_size=32),
            st.dictionaries(
                st.text(max_size=9), st.none() | st.booleans() | st.integers() | st.text(max_size=9)
            ),
        ),
        max_size=8,
    ),
    st.integers(0, 7),
)
def test_whatever_is_recorded_is_read_back(quick, tmp_path_factory, entries, reopened):
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    log = opened(path)
    for number, entry in enumerate(entries):
        if number == reopened:
            log.close()
            log = opened(path)
        log.record(*entry)
    log.close()
    expected = [
        Record(NOON.isoformat(), kind, direction, size, digest.hex(), detail)
        for kind, direction, size, digest, detail in entries
    ]
    assert read_records(path) == expected


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_later_change_goes_unnoticed(quick, tmp_path_factory, data):
    """A byte changed, missing or inserted before the last line's end, a line gone, doubled or swapped."""
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    raw = written(path)
    lines = raw.splitlines(keepends=True)
    action = data.draw(st.sampled_from(["flip", "insert", "delete", "drop", "double", "swap"]))
    place, line = data.draw(st.integers(0, len(raw) - 2)), data.draw(st.integers(0, len(lines) - 2))
    changed = {
        "flip": raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :],
        "insert": raw[:place] + b"0" + raw[place:],
        "delete": raw[:place] + raw[place + 1 :],
        "drop": b"".join(lines[:line] + lines[line + 1 :]),
        "double": b"".join([*lines[: line + 1], *lines[line:]]),
        "swap": b"".join([*lines[:line], lines[line + 1], lines[line], *lines[line + 2 :]]),
    }[action]
    path.write_bytes(changed)
    with pytest.raises((DataError, UsageError)):
        read_records(path)
    with pytest.raises((DataError, UsageError)):
        opened(path)
    assert path.read_bytes() == changed


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_anywhere_it_opens_with_every_whole_record(quick, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    raw = written(path)
    kept = raw[: data.draw(st.integers(0, len(raw)))]
    path.write_bytes(kept)
    whole = max(0, kept.count(b"\n") - 1 + (kept[-1:] == b"}" and raw[len(kept) :][:1] == b"\n"))
    with opened(path) as log:
        log.record("masked", "out", 99)
    sizes = [record.size for record in read_records(path) if record.kind == "masked"]
    assert sizes == [*range(whole), 99]

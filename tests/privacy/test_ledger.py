import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from ledger_files import file_head

from sealora.privacy.accountants import PldAccountant, RdpAccountant
from sealora.privacy.calibration import affordable_rounds
from sealora.privacy.chain import MAX_LINE, read_chain
from sealora.privacy.events import (
    Budget,
    Composition,
    DistributedDiscreteGaussian,
    Event,
    GaussianRelease,
    PoissonSampledGaussian,
    Relation,
    canonical_json,
    from_json,
)
from sealora.privacy.ledger import LEDGER, Charge, ChargeKey, Ledger, read_charges, read_header
from sealora.protocol.errors import DataError, RefusedError, RunError, SealoraError, UsageError

ROUND = PoissonSampledGaussian(1.5, 0.25, 4)
PLENTY = Budget(1e6, 1e-5)


class Counting:
    """ε is the number of single releases."""

    name = "counting"
    relation: Relation = "add-remove"

    def epsilon(self, events: Iterable[Event], delta: float) -> float:
        return float(len(list(events)))

    def delta(self, events: Iterable[Event], epsilon: float) -> float:
        return 0.0


def opened(path: Path, data_set: str = "notes") -> Ledger:
    return Ledger(path, data_set, "record", Counting())


def key(number: int, attempt: int = 0) -> ChargeKey:
    return ChargeKey("run-1", number, attempt)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.ledger"


@pytest.fixture
def written(path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A ledger of three charges; syncing is off, for the tests that open thousands of them."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    with opened(path) as ledger:
        for number, event in enumerate([ROUND, GaussianRelease(2), ROUND]):
            ledger.charge(key(number), event, PLENTY)
    return path.read_bytes()


# The format


FIXTURE = (
    b'{"entry":{"data_set":"notes","format":"sealora-ledger-1","unit":"record"},'
    b'"link":"937bc6bcd987bd67e6f7d13586afd1472ca81348d60f8aafa16b79d98cb11033"}\n'
    b'{"entry":{"attempt":0,"event":{"kind":"gaussian-release","noise_multiplier":2.0},"round":3,"run":"run-1"},'
    b'"link":"26c43271d391ec315ad3b2c686fdaee774e788a75c619c14e7fcd08b6e06a6bd"}\n'
)


def test_the_file_format_is_a_promise(path: Path) -> None:
    with opened(path) as ledger:
        ledger.charge(key(3), GaussianRelease(2), PLENTY)
    assert path.read_bytes() == FIXTURE


def test_the_head_can_be_recomputed_from_the_entries(path: Path) -> None:
    with opened(path) as ledger:
        ledger.charge(key(0), ROUND, PLENTY)
        ledger.charge(key(1), Composition((ROUND, GaussianRelease(9)), 2), PLENTY)
        counted = ledger.head
    entries = [json.loads(line)["entry"] for line in path.read_text().splitlines()]
    head = b""
    for entry in entries:
        digest = hashlib.sha256()
        for field in (b"sealora ledger", head, canonical_json(entry)):
            digest.update(len(field).to_bytes(8, "big") + field)
        head = digest.digest()
    assert head == counted
    assert from_json(entries[1]["event"]) == ROUND


def test_the_file_is_the_owners_alone(path: Path) -> None:
    path.touch(0o644)
    path.chmod(0o644)
    with opened(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Charging


def test_charges_outlive_the_process(path: Path) -> None:
    with opened(path) as ledger:
        empty = ledger.head
        first = ledger.charge(key(0), ROUND, PLENTY)
        second = ledger.charge(key(0, 1), GaussianRelease(3), PLENTY)
        assert len({empty, first, second}) == 3
        assert ledger.head == second
        assert len(second) == 32
    with opened(path) as ledger:
        assert ledger.head == second
        assert ledger.charges == (Charge(key(0), ROUND), Charge(key(0, 1), GaussianRelease(3)))
        assert file_head(path) == second
    assert tuple(read_charges(path)) == (Charge(key(0), ROUND), Charge(key(0, 1), GaussianRelease(3)))


def test_repeating_a_charge_charges_once(path: Path) -> None:
    with opened(path) as ledger:
        head = ledger.charge(key(0), ROUND, PLENTY)
        before = path.read_bytes()
        assert ledger.charge(key(0), PoissonSampledGaussian(1.5, 0.25, 4), PLENTY) == head
        # A repetition costs nothing, so it goes through when the budget is gone.
        assert ledger.charge(key(0), ROUND, Budget(0.5, 1e-5)) == head
        assert path.read_bytes() == before


def test_a_key_is_never_charged_with_another_event(path: Path) -> None:
    with opened(path) as ledger:
        head = ledger.charge(key(0), ROUND, PLENTY)
        with pytest.raises(
            RefusedError, match=r"round 0, attempt 0 of run 'run-1' was charged with another event"
        ):
            ledger.charge(key(0), PoissonSampledGaussian(1.5, 0.25, 5), PLENTY)
        assert ledger.head == head
    with opened(path) as ledger, pytest.raises(RefusedError, match="another event"):
        ledger.charge(key(0), GaussianRelease(1.5), PLENTY)


def test_a_budget_is_a_hard_stop_across_runs(path: Path) -> None:
    accountant, event = RdpAccountant(), GaussianRelease(8)
    budget = Budget(2.0, 1e-5)
    affordable = affordable_rounds(event, budget, accountant)
    assert affordable > 2
    for run in range(affordable):
        with Ledger(path, "notes", "record", accountant) as ledger:
            ledger.charge(ChargeKey(f"run-{run}", 0, 0), event, budget)
    with Ledger(path, "notes", "record", accountant) as ledger:
        before = path.read_bytes()
        with pytest.raises(
            RefusedError, match=r"ε = 2\.0\d+ at δ = 1e-05, above its budget of 2\."
        ) as refused:
            ledger.charge(ChargeKey("one-more", 0, 0), event, budget)
        assert refused.value.exit_code == 3
        assert path.read_bytes() == before
        assert ledger.spent(budget.delta) == accountant.epsilon([event] * affordable, budget.delta)
        assert ledger.spent(budget.delta) <= budget.epsilon
        # A smaller release still fits.
        ledger.charge(ChargeKey("one-more", 0, 1), GaussianRelease(1000), budget)


def test_retries_are_charged(path: Path) -> None:
    with opened(path) as ledger:
        for attempt in range(3):
            ledger.charge(key(0, attempt), ROUND, Budget(3, 1e-5))
        with pytest.raises(RefusedError):
            ledger.charge(key(0, 3), ROUND, Budget(3, 1e-5))


def test_an_epsilon_that_is_no_number_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "epsilon", lambda self, events, delta: float("nan"))
    with opened(path) as ledger, pytest.raises(RefusedError, match="above its budget"):
        ledger.charge(key(0), ROUND, PLENTY)


def test_events_that_the_accountant_cannot_account_are_refused_before_they_are_written(path: Path) -> None:
    with Ledger(path, "notes", "record", PldAccountant()) as ledger:
        before = path.read_bytes()
        with pytest.raises(RefusedError, match="rdp"):
            ledger.charge(key(0), DistributedDiscreteGaussian(2, 20, 100, 10), PLENTY)
        with pytest.raises(RefusedError, match="not a privacy event"):
            ledger.charge(key(0), "laplace", PLENTY)  # type: ignore[arg-type]
        assert path.read_bytes() == before


def test_an_event_too_long_for_a_line_is_refused(path: Path) -> None:
    with opened(path) as ledger:
        long = Composition(tuple(GaussianRelease(1 + i / 7) for i in range(MAX_LINE // 50)))
        with pytest.raises(UsageError, match="too long"):
            ledger.charge(key(0), long, PLENTY)
        ledger.charge(key(0), ROUND, PLENTY)
        assert file_head(path) == ledger.head


@pytest.mark.parametrize(
    "fields", [("", 0, 0), ("x" * 129, 0, 0), ("run", -1, 0), ("run", 0, True), ("run", 2**53, 0)]
)
def test_impossible_keys_are_refused(fields: tuple[str, int, int]) -> None:
    with pytest.raises(UsageError):
        ChargeKey(*fields)


def test_threads_cannot_both_take_the_last_of_a_budget(path: Path) -> None:
    budget, outcomes = Budget(5, 1e-5), []
    barrier = threading.Barrier(8)

    def charge(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(ledger.charge(key(number), ROUND, budget))
        except RefusedError:
            outcomes.append(b"")

    with opened(path) as ledger:
        threads = [threading.Thread(target=charge, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(map(bool, outcomes)) == 5
        assert len(ledger.charges) == 5
        assert file_head(path) == ledger.head


# Writing


def test_a_charge_is_synced_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    write, sync = os.write, os.fsync
    with opened(path) as ledger:
        monkeypatch.setattr(os, "write", lambda fd, data: (calls.append("write"), write(fd, data[:50]))[1])
        monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), sync(fd))[1])
        ledger.charge(key(0), ROUND, PLENTY)
        assert calls[-2:] == ["write", "sync"]
        assert calls.count("sync") == 1
        assert file_head(path) == ledger.head


def failing_write(data: bytes, write: Callable[[int, bytes], int], descriptor: int) -> int:
    if len(data) > 50:
        return write(descriptor, data[:50])
    raise OSError(28, "No space left on device")


def test_a_full_disk_stops_charging_and_leaves_a_ledger_that_opens(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = os.write
    with opened(path) as ledger:
        ledger.charge(key(0), ROUND, PLENTY)
        monkeypatch.setattr(os, "write", lambda fd, data: failing_write(data, write, fd))
        with pytest.raises(RunError, match="No space left on device"):
            ledger.charge(key(1), ROUND, PLENTY)
        monkeypatch.undo()
        with pytest.raises(RunError, match="closed"):
            ledger.charge(key(2), ROUND, PLENTY)
    with caplog.at_level(logging.WARNING), opened(path) as ledger:
        assert [charge.key for charge in ledger.charges] == [key(0)]
        ledger.charge(key(2), ROUND, PLENTY)
    assert "cut off" in caplog.text


def test_a_failed_sync_stops_charging_and_counts_what_reached_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with opened(path) as ledger:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(RunError, match="Nothing is released"):
            ledger.charge(key(0), ROUND, PLENTY)
        monkeypatch.undo()
    with opened(path) as ledger:
        assert [charge.key for charge in ledger.charges] == [key(0)]


def test_a_closed_ledger_charges_nothing(path: Path) -> None:
    ledger = opened(path)
    ledger.charge(key(0), ROUND, PLENTY)
    ledger.close()
    ledger.close()
    for number in (0, 1):
        with pytest.raises(RunError, match="closed"):
            ledger.charge(key(number), ROUND, PLENTY)


# Opening


def test_there_is_one_writer(path: Path) -> None:
    with opened(path) as ledger:
        ledger.charge(key(0), ROUND, PLENTY)
        with pytest.raises(RefusedError, match="in use by another process") as refused:
            opened(path)
        assert "\n" not in str(refused.value)
        assert len(read_charges(path)) == 1
    opened(path).close()


def test_a_forked_child_neither_charges_nor_keeps_or_gives_back_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = opened(path)
    # What a fork does to the lock: one open file, two descriptors.
    inherited = os.dup(ledger._chain._descriptor)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RunError, match="closed"):
            ledger.charge(key(0), ROUND, PLENTY)
        ledger.close()
    with pytest.raises(RefusedError, match="in use"):
        opened(path)
    os.close(inherited)

    ledger = opened(path)
    inherited = os.dup(ledger._chain._descriptor)
    ledger.close()
    opened(path).close()
    os.close(inherited)


@pytest.mark.parametrize("name", [".", "missing/notes.ledger"])
def test_a_path_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be opened"):
        opened(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        read_charges(tmp_path / "absent")


def test_a_ledger_belongs_to_one_data_set_and_unit(path: Path) -> None:
    opened(path).close()
    with pytest.raises(
        UsageError, match="record-level ledger of data set 'notes', not the record-level one of 'scans'"
    ):
        opened(path, "scans")
    with pytest.raises(UsageError, match="not the site-level one"):
        Ledger(path, "notes", "site", Counting())
    opened(path).close()


@pytest.mark.parametrize(
    "content", [b"hello", b"hello\n", b"{}", b'{"entry":{},"link":""}\n', b"\0" * 100, b"x" * MAX_LINE]
)
def test_a_file_that_is_no_ledger_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match="line 1"):
        opened(path)
    assert path.read_bytes() == content


def chained(*entries: dict[str, object]) -> bytes:
    """A file whose links are right, whatever its entries."""
    lines, head = [], b""
    for entry in entries:
        digest = hashlib.sha256()
        for field in (b"sealora ledger", head, canonical_json(entry)):
            digest.update(len(field).to_bytes(8, "big") + field)
        head = digest.digest()
        lines.append(canonical_json({"entry": entry, "link": head.hex()}) + b"\n")
    return b"".join(lines)


HEADER: dict[str, object] = {"data_set": "notes", "format": "sealora-ledger-1", "unit": "record"}
CHARGE: dict[str, object] = Charge(key(0), ROUND).entry()


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ([{**HEADER, "format": "sealora-ledger-2"}], UsageError, "not a ledger of this version"),
        ([HEADER, {**CHARGE, "event": {"kind": "laplace"}}], RefusedError, "line 2, .*'laplace'"),
        ([HEADER, CHARGE, {**CHARGE, "round": -1}], RefusedError, "line 3"),
        ([HEADER, {**CHARGE, "refund": True}], RefusedError, "line 2"),
        ([HEADER, {"round": 1}], RefusedError, "line 2"),
        ([HEADER, CHARGE, CHARGE], DataError, "line 3, charges round 0, attempt 0 of run 'run-1' again"),
    ],
)
def test_entries_that_cannot_be_accounted_are_refused(
    path: Path, entries: list[dict[str, object]], error: type[SealoraError], message: str
) -> None:
    path.write_bytes(chained(*entries))
    with pytest.raises(error, match=message):
        opened(path)
    assert path.read_bytes() == chained(*entries)


# Damage


@pytest.mark.slow
def test_cut_at_any_byte_it_opens_with_every_whole_charge(
    path: Path, written: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    charges = read_charges(path)
    ends = [i + 1 for i, byte in enumerate(written) if byte == ord("\n")]
    for cut in range(len(written)):
        path.write_bytes(written[:cut])
        caplog.clear()
        with opened(path) as ledger:
            # A line that lacks only its newline is whole.
            whole = sum(end - 1 <= cut for end in ends)
            assert ledger.charges == tuple(charges[: max(0, whole - 1)])
            torn = cut > 0 and cut not in ends and cut + 1 not in ends
            assert ("cut off" in caplog.text) == torn
            assert path.read_bytes() == written[: ends[max(1, whole) - 1]]
            ledger.charge(key(99), ROUND, PLENTY)
            assert file_head(path) == ledger.head


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lambda b: b ^ 1, lambda b: ord("\n"), lambda b: 0, lambda b: ord(" ")])
def test_changed_at_any_byte_it_is_refused(path: Path, written: bytes, damage: Callable[[int], int]) -> None:
    for place, byte in enumerate(written):
        if damage(byte) == byte:
            continue
        line = written.count(b"\n", 0, place) + 1
        damaged = written[:place] + bytes([damage(byte)]) + written[place + 1 :]
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"line {line}.*backup"):
            opened(path)
        assert path.read_bytes() == damaged


@pytest.mark.slow
def test_with_any_byte_missing_or_inserted_it_is_refused(path: Path, written: bytes) -> None:
    for place in range(len(written) - 1):
        for damaged in (written[:place] + written[place + 1 :], written[:place] + b"0" + written[place:]):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match="line"):
                opened(path)


def test_with_lines_missing_repeated_or_swapped_it_is_refused(path: Path, written: bytes) -> None:
    header, first, second, third = written.splitlines(keepends=True)
    for lines in [
        (first, second, third),
        (header, second, third),
        (header, first, third),
        (header, first, first, second, third),
        (header, second, first, third),
        (header, first, second, third, third),
        (header, first, second, third, header),
    ]:
        path.write_bytes(b"".join(lines))
        with pytest.raises(DataError, match="line"):
            opened(path)


def test_a_charge_from_another_ledger_is_refused(path: Path, written: bytes, tmp_path: Path) -> None:
    with opened(tmp_path / "other", "scans") as other:
        other.charge(key(0), ROUND, PLENTY)
    path.write_bytes(written + (tmp_path / "other").read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(DataError, match="line 5"):
        opened(path)


def test_a_rollback_shows_in_the_head(path: Path, written: bytes) -> None:
    with opened(path) as ledger:
        signed = ledger.counted_head
    path.write_bytes(b"".join(written.splitlines(keepends=True)[:-1]))
    with opened(path) as ledger:
        assert ledger.counted_head.count < signed.count
        assert ledger.head != signed.digest


@pytest.mark.parametrize("left", [0, 1, 30])
def test_a_ledger_without_a_whole_line_was_cut_or_never_begun(path: Path, written: bytes, left: int) -> None:
    assert read_header(path)["data_set"] == "notes"
    path.write_bytes(written[:left])
    assert read_charges(path) == []
    with pytest.raises(DataError, match="holds no whole line: the ledger was cut, or never begun"):
        read_header(path)


def test_reading_without_the_lock_checks_format_and_keys_too(path: Path, written: bytes) -> None:
    header, first, *_ = (entry for entry, _ in read_chain(path, LEDGER))
    path.write_bytes(chained(header, first, first))
    with pytest.raises(DataError, match="line 3, charges round"):
        read_charges(path)
    path.write_bytes(chained({**header, "format": "sealora-ledger-2"}, first))
    for read in (read_charges, read_header):
        with pytest.raises(UsageError, match="is not a ledger of this version"):
            read(path)


def test_reading_without_the_lock_leaves_out_a_torn_line(path: Path, written: bytes) -> None:
    path.write_bytes(written[:-20])
    assert len(list(read_chain(path, LEDGER))) == 3
    assert len(read_charges(path)) == 2


def test_deeply_nested_json_is_damage(path: Path, written: bytes) -> None:
    path.write_bytes(written + b"[" * 60_000 + b"\n")
    with pytest.raises(DataError, match="line 5"):
        opened(path)

"""A ledger's format, its charges and its budget, and that what was charged is on the disk."""

import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from counted_ledger import PLENTY, ROUND, Counting, key, opened
from ledger_files import file_head

from sealora.privacy.accountants import PldAccountant, RdpAccountant
from sealora.privacy.calibration import affordable_rounds
from sealora.privacy.chain import MAX_LINE
from sealora.privacy.events import (
    Budget,
    Composition,
    DistributedDiscreteGaussian,
    GaussianRelease,
    PoissonSampledGaussian,
    canonical_json,
    from_json,
)
from sealora.privacy.ledger import Charge, ChargeKey, Ledger, read_charges
from sealora.protocol.errors import RefusedError, RunError, UsageError

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

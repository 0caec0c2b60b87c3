"""A ledger has one writer, and opens only if every byte is as it was written, but for a torn last line."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from counted_ledger import PLENTY, ROUND, Counting, key, opened
from ledger_files import file_head

from sealora.privacy.chain import MAX_LINE, read_chain
from sealora.privacy.events import canonical_json
from sealora.privacy.ledger import LEDGER, Charge, Ledger, read_charges, read_header
from sealora.protocol.errors import DataError, RefusedError, RunError, SealoraError, UsageError

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

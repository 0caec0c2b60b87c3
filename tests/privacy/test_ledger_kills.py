"""Whenever a site is killed, its ledger opens again and holds every release that left it."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_files import file_head

from sealora.privacy.accountants import RdpAccountant
from sealora.privacy.ledger import Ledger

CHILD = Path(__file__).with_name("ledger_child.py")
RELEASE = 9
"""Bytes of one line of the file of releases."""


def run_until_killed(folder: Path, mode: str, count: int) -> None:
    command = [sys.executable, str(CHILD), str(folder / "ledger"), str(folder / "releases"), mode, str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        if mode == "async":
            for _ in range(count):
                child.stdout.readline()
            child.kill()
        errors = child.stderr.read()
    assert child.returncode == -9, errors.decode()


def released(folder: Path) -> int:
    """Attempts whose release began to be written; a torn one counts."""
    path = folder / "releases"
    return -(-path.stat().st_size // RELEASE) if path.exists() else 0


def require_charged(folder: Path) -> int:
    with Ledger(folder / "ledger", "notes", "record", RdpAccountant()) as ledger:
        attempts = [charge.key.attempt for charge in ledger.charges]
        assert file_head(folder / "ledger") == ledger.head
    assert attempts == list(range(len(attempts)))
    written = (folder / "releases").read_bytes().split()
    assert {int(line) for line in written if len(line) == RELEASE - 1} <= set(attempts)
    assert released(folder) <= len(attempts)
    return len(attempts)


@pytest.mark.parametrize(
    ("mode", "count", "charged"),
    [
        # The header has 149 bytes, a charge 179, a release 9.
        ("write", 60, 0),
        ("write", 153, 0),
        ("write", 327, 1),
        ("write", 332, 1),
        ("write", 700, 2),
        ("sync", 4, 1),
        ("async", 20, 20),
    ],
)
def test_a_killed_site_has_paid_for_what_it_released(
    tmp_path: Path, mode: str, count: int, charged: int
) -> None:
    run_until_killed(tmp_path, mode, count)
    assert require_charged(tmp_path) >= charged
    assert released(tmp_path) >= charged - 1


@pytest.mark.soak
@pytest.mark.slow
def test_two_hundred_kills_of_one_site(tmp_path: Path) -> None:
    dice = random.Random(20240607)
    before = 0
    for _ in range(200):
        mode, most = dice.choice([("write", 2500), ("sync", 25), ("async", 25)])
        run_until_killed(tmp_path, mode, dice.randint(1, most))
        after = require_charged(tmp_path)
        assert after >= before
        before = after
    assert released(tmp_path) > 500

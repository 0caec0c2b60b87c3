"""A ledger for tests; what they share stands beside this file and is found by its bare name."""

import os
import sys
from pathlib import Path

import pytest

from sealora.privacy.events import GaussianRelease

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.ledger"


@pytest.fixture
def written(path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A ledger of three charges; syncing is off, for the tests that open thousands of them."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    from counted_ledger import PLENTY, ROUND, key, opened

    with opened(path) as ledger:
        for number, event in enumerate([ROUND, GaussianRelease(2), ROUND]):
            ledger.charge(key(number), event, PLENTY)
    return path.read_bytes()

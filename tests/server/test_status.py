"""Where a run stands: the file, the lock behind it, and the figures for monitoring."""

import json
import os
import stat
from datetime import UTC, datetime

import pytest

from sealora.cli.server_run import _lines
from sealora.protocol.errors import RefusedError, RunError, UsageError
from sealora.server import state_lock
from sealora.server.events import (
    AttemptLost,
    AttemptOpened,
    BudgetSpent,
    Evaluated,
    PhaseOpened,
    RoundDone,
    RoundRecord,
    RunStarted,
    SiteAnswered,
    SiteRefused,
)
from sealora.server.run_metrics import RunMetrics
from sealora.server.state_lock import StateLock, owner
from sealora.server.status import StatusFile, read_status
from sealora.server.switchboard import Presence

SITES = ("ams", "ber", "cph")
RECORD = RoundRecord(
    round=1,
    attempt=1,
    cohort=SITES,
    contributors=SITES[:2],
    train_loss=0.5,
    clipped=0,
    metrics={"accuracy": 0.75},
    bytes_down=10,
    bytes_up=20,
    seconds={"train": 2.0, "mask": 1.0},
)
EVENTS = (
    RunStarted(2, SITES, ()),
    AttemptOpened(1, 1, SITES),
    PhaseOpened(1, "train", 3),
    SiteAnswered(1, "train", "ams", 100, 40),
    SiteAnswered(1, "train", "ber", 100, 50),
    SiteRefused(1, "cph", "policy", "limits.hours"),
)


def told(folder, *events):
    status = StatusFile(folder)
    for event in events:
        status.notify(event)
    return status


def test_a_run_is_described_while_it_goes_on(tmp_path):
    with StateLock(tmp_path):
        told(tmp_path, *EVENTS).present(Presence(SITES[:2], SITES[2:], 1, 90.0))
        found = read_status(tmp_path)
        lines = list(_lines(found))
    assert found["process"] == os.getpid()
    assert lines[0] == f"running (process {os.getpid()}), 0 of 2 rounds done"
    assert lines[1] == "round 1, attempt 1, phase train: 2 of 3 sites answered"
    assert lines[2:4] == ["connected: ams, ber", "absent: cph"]
    assert lines[4].startswith("waiting for 1 more sites, ")
    left = (datetime.fromisoformat(found["until"]) - datetime.now(UTC)).total_seconds()
    assert 60 < left <= 91


def test_a_killed_coordinator_is_seen_as_stopped(tmp_path):
    told(tmp_path, *EVENTS, RoundDone(RECORD))
    assert next(_lines(read_status(tmp_path))) == "stopped, 1 of 2 rounds done"


def test_a_finished_run_shows_its_metrics_and_why_it_ended_early(tmp_path):
    told(tmp_path, *EVENTS, BudgetSpent(2, ("ams",)), Evaluated({"accuracy": 0.5}, {}, SITES))
    lines = list(_lines(read_status(tmp_path)))
    assert lines[0].startswith("finished")
    assert "privacy budgets do not pay for round 2" in lines
    assert "accuracy: 0.5000" in lines


def test_the_file_is_json_whatever_the_metrics(tmp_path):
    told(tmp_path, RunStarted(1, SITES, ()), Evaluated({"auroc": float("nan")}, {}, ()))
    assert json.loads((tmp_path / "status.json").read_text())["metrics"] == {"auroc": None}


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "3",
        '{"state": 1}',
        '{"state": "running", "connected": 3, "absent": []}',
        '{"state": "running", "lacking": 2, "until": "2026-01-01T00:00:00"}',
        '{"state": "running", "lacking": 2, "until": 7}',
        '{"state": "finished", "metrics": {"accuracy": "high"}}',
        '{"state": "finished", "metrics": []}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, command, content):
    (tmp_path / "status.json").write_text(content)
    code, out, err = command("server", "status", tmp_path)
    assert (code, out) == (2, "")
    assert err.endswith(
        "status.json is damaged. A coordinator that is started on the folder writes it anew.\n"
    )


def test_a_file_that_was_just_begun_is_shown_as_far_as_it_goes(tmp_path, command):
    (tmp_path / "status.json").write_text(
        '{"state": "running", "phase": "train", "lacking": 1, "connected": []}'
    )
    assert command("server", "status", tmp_path) == (0, "stopped, 0 of ? rounds done\n", "")


def test_a_folder_has_one_owner(tmp_path):
    assert owner(tmp_path) is None
    with StateLock(tmp_path):
        assert owner(tmp_path) == os.getpid()
        with pytest.raises(RefusedError, match=f"another coordinator \\(process {os.getpid()}\\) works on"):
            StateLock(tmp_path)


def test_the_folder_of_a_run_is_its_owners_alone(tmp_path):
    folder = tmp_path / "runs" / "stroke"
    with StateLock(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert owner(folder) is None
    assert (folder / state_lock.NAME).read_bytes() == b"", "the next owner is not taken for it"


@pytest.mark.parametrize("said", [b"", b"0", b"-1", b"4x"])
def test_an_owner_that_has_not_said_who_it_is_is_waited_for(tmp_path, monkeypatch, said):
    with StateLock(tmp_path):
        (tmp_path / state_lock.NAME).write_bytes(said)
        monkeypatch.setattr(state_lock.time, "sleep", lambda _: None)
        with pytest.raises(RunError, match="does not say which process holds it"):
            owner(tmp_path)
        monkeypatch.setattr(
            state_lock.time, "sleep", lambda _: (tmp_path / state_lock.NAME).write_bytes(b"4711")
        )
        assert owner(tmp_path) == 4711


def test_nobody_is_stopped_where_nobody_works(tmp_path, command):
    assert command("server", "stop", tmp_path) == (0, f"No coordinator works on {tmp_path}.\n", "")


def test_figures_count_sites_and_do_not_name_them():
    metrics = RunMetrics()
    for event in (*EVENTS, AttemptLost(1, 1, "too few"), RoundDone(RECORD)):
        metrics.notify(event)
    metrics.present(Presence(SITES[:2], SITES[2:]))
    text = metrics.exposition().decode()
    for figure in (
        "rounds_done 1.0",
        "rounds_planned 2.0",
        "sites_connected 2.0",
        "round_seconds 3.0",
        "answers_total 2.0",
        "refusals_total 1.0",
        "attempts_lost_total 1.0",
        "bytes_received_total 90.0",
        "bytes_sent_total 200.0",
    ):
        assert f"sealora_{figure}\n" in text
    assert not any(site in text for site in SITES)

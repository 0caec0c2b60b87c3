"""Observers: the logs hold every round once, and the progress bar survives whatever it is told."""

import io
import json

import pytest
from rich.console import Console

from sealora.protocol import messages
from sealora.protocol.messages import Reason, Refusal
from sealora.server.metrics_log import EventLog, MetricsLog, finite
from sealora.server.progress import ProgressBar
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.toy import toy_federation


class Death(BaseException):
    pass


class DiesAfterRound:
    def __init__(self, number):
        self.number = number

    def notify(self, event):
        if type(event).__name__ == "RoundDone" and event.record.round == self.number:
            raise Death


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_metrics_hold_every_round_once_after_a_restart(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for last in (1, 2):
        # Told last, so that it dies before the round stands in the log; and then first.
        order = [MetricsLog(path), DiesAfterRound(last)]
        with pytest.raises(Death):
            toy_federation(tmp_path).coordinator(observers=order[:: 1 if last == 1 else -1]).run()
    toy_federation(tmp_path).coordinator(observers=[MetricsLog(path)]).run()
    found = lines(path)
    assert [line.get("round") for line in found] == [1, 2, 3, None]
    assert [line.get("metrics_of_round") for line in found] == [0, 1, 2, None]
    assert found[-1]["final"] is True
    assert found[-1]["metrics"]["loss"] < found[0]["metrics"]["loss"]


def test_events_are_kept_in_order_across_restarts(tmp_path):
    path = tmp_path / "events.jsonl"
    with pytest.raises(Death):
        toy_federation(tmp_path, sites=2).coordinator(observers=[EventLog(path), DiesAfterRound(2)]).run()
    toy_federation(tmp_path, sites=2).coordinator(observers=[EventLog(path)]).run()
    found = lines(path)
    a_round = ["AttemptOpened", "PhaseOpened", "SiteAnswered", "SiteAnswered"]
    expected = ["RunStarted", *a_round, "RoundDone", *a_round, "RoundDone"]
    expected += ["RunStarted", *a_round, "RoundDone", *a_round, "Evaluated"]
    assert [line["event"] for line in found] == expected
    assert all("history" not in line for line in found)
    times = [line["time"] for line in found]
    assert times == sorted(times)


def test_what_json_cannot_say_is_null():
    value = {"a": float("nan"), "b": [1.5, float("inf")], "c": ({"d": float("-inf")},), "e": "x"}
    assert finite(value) == {"a": None, "b": [1.5, None], "c": [{"d": None}], "e": "x"}


MARKUP = "[/] [nonsense] [bold"
CLEARS = "\x1b[2K\r"
"""What would clear the line and begin it anew."""
REFUSAL = messages.reply(Refusal(Reason.FAILED, MARKUP + CLEARS))


def shown(tmp_path, terminal):
    """What the bar prints in a run with a lost attempt and a site that refuses with markup."""
    console = Console(file=io.StringIO(), force_terminal=terminal, highlight=False, width=200)
    toy = toy_federation(tmp_path)
    toy.sites["[/red]"] = toy.sites.pop("site-4")
    faults = Faults(script={(f"site-{number}", 2): Fault(0) for number in (1, 2, 3)})
    with ProgressBar(console, "nearness") as bar:
        coordinator = toy.coordinator(faults, observers=[bar])
        coordinator.fleet._sites["[/red]"] = lambda _: REFUSAL
        coordinator.run()
    return console.file.getvalue()


def test_a_line_for_each_round_where_there_is_no_terminal(tmp_path):
    text = shown(tmp_path, terminal=False)
    assert "\x1b" not in text
    rounds = [line for line in text.splitlines() if line.startswith("Round ") and "training loss" in line]
    assert [line.split()[1] for line in rounds] == ["1/3", "2/3", "3/3"]
    assert "3/4 sites" in rounds[0]
    assert f"[/red] refused (failed): {MARKUP}?[2K?" in text
    assert "Round 2, attempt 1: 0 sites contributed, the quorum is 2." in text


def test_bars_on_a_terminal(tmp_path):
    text = shown(tmp_path, terminal=True)
    assert "Evaluation" in text
    assert f"{MARKUP}?[2K?" in text
    assert text.rstrip().rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again"


def test_a_restart_tells_where_it_goes_on(tmp_path):
    with pytest.raises(Death):
        toy_federation(tmp_path).coordinator(observers=[DiesAfterRound(2)]).run()
    console = Console(file=io.StringIO(), width=200)
    with ProgressBar(console, "nearness") as bar:
        toy_federation(tmp_path).coordinator(observers=[bar]).run()
    assert "Going on after round 2 of 3." in console.file.getvalue()


@pytest.mark.slow
def test_tensorboard_reads_the_curve(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from sealora.server.tensorboard import TensorBoardLog

    _, evaluated = toy_federation(tmp_path).coordinator(observers=[TensorBoardLog(tmp_path / "board")]).run()
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    curve = board.Scalars("model/loss")
    assert [point.step for point in curve] == [0, 1, 2, 3]
    assert curve[-1].value == pytest.approx(evaluated.metrics["loss"])
    assert [point.step for point in board.Scalars("round/bytes_up")] == [1, 2, 3]

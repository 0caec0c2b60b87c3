"""Every way a command can end: the exit code, the message, and never a traceback."""

import errno
import json
import re
import stat
import tempfile
from pathlib import Path

import click
import pytest
import typer

from sealora.cli.errors import guard
from sealora.protocol.errors import (
    AttemptFailed,
    DataError,
    PlanError,
    ProtocolError,
    RefusedError,
    RunError,
    SealoraError,
)


@pytest.fixture
def ends(capsys, tmp_path, monkeypatch):
    """Runs a command that raises; returns exit code, standard output and standard error."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(error, *arguments):
        def command():
            raise error

        return guard(command, arguments), *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SealoraError("no.", "Do it."), 1),
        (PlanError("no.", "Do it."), 2),
        (DataError("no.", "Do it."), 2),
        (RunError("no.", "Do it."), 1),
        (RefusedError("no.", "Do it."), 3),
    ],
)
def test_our_errors_are_a_line_and_a_code(ends, error, code):
    assert ends(error) == (code, "", "error: no. Do it.\n")


@pytest.mark.parametrize("error", [AttemptFailed("lost."), ProtocolError("malformed", "lost.")])
def test_errors_of_the_protocol(ends, error):
    assert ends(error) == (1, "", "error: lost.\n")


def test_a_message_that_quotes_a_peer_moves_no_cursor(ends):
    told = ends(ProtocolError("stranger", "no \x1b[2K\u202esite \ud800"))[2]
    assert told == "error: no ?[2K?site ?\n"


def test_several_problems_are_several_lines(ends):
    assert ends(PlanError("one\ntwo"))[2] == "error: one\nerror: two\n"


def test_json(ends):
    code, out, err = ends(RefusedError("the budget is spent."), "run", "--json")
    assert json.loads(out) == {
        "error": {"kind": "RefusedError", "message": "the budget is spent.", "exit_code": code}
    }
    assert err == "error: the budget is spent.\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interruption(ends, error):
    assert ends(error) == (130, "", "error: interrupted.\n")


def test_interruption_within_a_command(capsys):
    def command():
        raise KeyboardInterrupt

    app = typer.Typer()
    app.command()(command)
    assert guard(lambda: typer.main.get_command(app).main([], standalone_mode=False), []) == 130
    assert capsys.readouterr().err == "error: interrupted.\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "out/log: the disk is full."),
        (errno.EACCES, "out/log: permission denied."),
        (errno.EROFS, "out/log: the file system is read-only."),
    ],
)
def test_the_systems_refusals_are_no_bugs(ends, tmp_path, code, words):
    exit_code, _, err = ends(OSError(code, "x", "out/log"))
    assert exit_code == 1
    assert err.startswith(f"error: {words}")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_leaves_a_report_that_only_its_owner_reads(ends, tmp_path):
    code, _, err = ends(ZeroDivisionError("division\nby zero"))
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith("error: unexpected ZeroDivisionError: division by zero")
    report = Path(re.search(r"traceback is in (\S+)\)", err)[1])
    assert report.parent == tmp_path
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert "Traceback (most recent call last)" in report.read_text()


def test_a_bug_without_room_for_a_report(ends, monkeypatch):
    def full(**_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    code, _, err = ends(ValueError("x"))
    assert code == 1
    assert "its traceback could not be saved" in err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3), ("text", 0)])
def test_a_command_that_returns(result, code):
    assert guard(lambda: result, []) == code


def test_colour_only_for_terminals(ends, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert ends(RunError("no."))[2] == "\x1b[1;31merror:\x1b[0m no.\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert ends(RunError("no."))[2] == "error: no.\n"

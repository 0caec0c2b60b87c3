"""The process tree that is measured: memory of children counts, failures are told, nothing is left."""

import os
import subprocess
import sys
from pathlib import Path

import process_tree
import psutil
import pytest
from process_tree import ProcessTree, measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PSS is a figure of Linux")

CHILD = "import sys; print('up', flush=True); sys.stdin.read()"


def child(extra: str = "") -> "subprocess.Popen[bytes]":
    """A Python process that waits until its input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", extra + CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def finish(process: "subprocess.Popen[bytes]") -> None:
    process.communicate()


def test_memory_of_the_tree_counts_what_is_allocated() -> None:
    small, large = child(), child("block = bytearray(b'x') * 50_000_000; ")
    difference = ProcessTree(large.pid).pss() - ProcessTree(small.pid).pss()
    finish(small)
    finish(large)
    assert 45e6 < difference < 60e6


def test_children_are_part_of_the_tree() -> None:
    process = child()
    own = ProcessTree(os.getpid())
    with_child = own.pss()
    assert psutil.Process(process.pid) in own._known
    finish(process)
    assert own.pss() < with_child


def test_a_command_is_timed_and_its_output_kept(tmp_path: Path) -> None:
    measured = measure([sys.executable, "-c", "print('done')"], os.environ, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "done\n"
    assert measured.seconds > 0
    assert measured.peak_pss > 0
    assert measured.left_behind == 0


def test_a_failure_is_told_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 1:\n(.*\n)*.*ValueError: no rows"):
        measure([sys.executable, "-c", "raise ValueError('no rows')"], os.environ, tmp_path / "log")


def test_what_outlives_the_command_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "GRACE", 0.2)
    process = child()
    orphan = psutil.Process(process.pid)
    tree = ProcessTree(os.getpid())
    tree._known.add(orphan)
    assert tree.stop_rest() == 1
    assert not orphan.is_running()
    finish(process)

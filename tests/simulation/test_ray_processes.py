"""The processes that Ray's servers have left are found, waited for, and ended."""

import subprocess
import sys
from pathlib import Path

import pytest

from sealora.simulation import ray_processes
from sealora.simulation.ray_processes import await_end

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], stdin=subprocess.PIPE)
input()
"""


@pytest.fixture
def server(monkeypatch):
    """A process that counts as Ray's, and has a child."""
    monkeypatch.setattr(ray_processes, "_programs", lambda: b"import subprocess, sys")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", FAMILY], **pipes) as server:
        assert server.stdout.readline() == b"up\n"
        yield server
        server.kill()


def test_servers_and_what_comes_from_them_are_found(server):
    found = ray_processes.ray_processes()
    assert len(found) == 2
    assert found[0].number == server.pid
    assert found[1].parent == server.pid
    assert all(process.alive for process in found)


def test_those_that_do_not_end_are_killed(server):
    found = ray_processes.ray_processes()
    await_end(found, 0.0)
    server.wait(10)
    assert server.returncode == -9
    await_end(found, 10.0)
    assert not any(process.alive for process in found)


def test_another_process_of_the_same_number_is_left_alone(server):
    found = ray_processes.ray_processes()
    other = ray_processes.Process(server.pid, "0", found[0].parent)
    await_end([other], 0.0)
    assert found[0].alive
    assert not other.alive


def test_other_children_are_none_of_rays(server, monkeypatch):
    """Not even where Python itself lies in a folder of that name, as in Ray's own images."""
    monkeypatch.undo()
    assert ray_processes._programs() not in b"/home/ray/bin/python\0-c\0"
    assert ray_processes.ray_processes() == []

"""`flwr run` as the README says: the plan's run, the same adapter, and nothing left once it is stopped."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

import sealora

ROOT = Path(__file__).parents[2]
README = "examples/flower-app/README.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes through /proc"),
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def marked(mark: str) -> dict[int, str]:
    """The live processes that have this value in their environment, and their commands."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has ended, or is another user's
    return found


def test_the_readmes_commands_run_the_plan(blocks, tiny, tmp_path):
    expected = sealora.simulate(tiny.plan(tmp_path / "local"), tmp_path / "local" / "run", rounds=1)
    script = blocks(README, "sh")[0]
    exports: dict[str, str] = {}
    for line in re.findall(r"^export .*$", script, re.MULTILINE):
        exports |= dict(word.split("=") for word in shlex.split(line)[1:])
    (command,) = re.findall(r"^flwr run .*?[^\\]$", script, re.MULTILINE | re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    out = tmp_path / "app" / "run"
    words[-1] = f"plan='{tiny.plan(tmp_path / 'app')}' out='{out}' rounds=1"
    mark = uuid.uuid4().hex
    environment = {
        **os.environ,
        **exports,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(tmp_path / "flwr"),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
        "SEALORA_TEST_MARK": mark,
    }
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=400)
        assert (out / "result.json").exists(), done.stdout + done.stderr
        result = json.loads((out / "result.json").read_text())
        # Flower tells of the run's end before it has stopped Ray.
        rays = {process for process, command in marked(mark).items() if "ray::" in command}
        alive = [process for process in psutil.process_iter() if process.pid in rays]
        still_there = psutil.wait_procs(alive, timeout=60)[1]
    finally:
        left = marked(mark)
        for process in left:
            os.kill(process, signal.SIGTERM)
    assert result["adapter_sha256"] == expected.result["adapter_sha256"]
    assert result["guarantee"].startswith("secure aggregation against")
    assert "Adapter " + result["adapter_sha256"][:16] in done.stdout
    assert any("flower-superlink" in command for command in left.values()), "as the README tells"
    assert still_there == []

"""Sites that train in actors of Ray: the same numbers, whatever dies, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from ray_child import processes

import sealora

pytestmark = pytest.mark.slow

CHILD = Path(__file__).with_name("ray_child.py")
RAY = '[simulation]\nengine = "ray"\nworkers = 2'
SCAFFOLD = ("[simulation]", '[strategy]\nname = "scaffold"\n\n[simulation]')
"""A strategy with a gradient term and memories, both of which an actor has to be given."""
SGD = ("[training]", '[training]\noptimizer = "sgd"')
linux = pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes through /proc")


@pytest.fixture
def mark(monkeypatch):
    """A value in the environment of this process, and of all that it starts."""
    value = uuid.uuid4().hex
    monkeypatch.setenv("SEALORA_TEST_MARK", value)
    return value


def assert_ended(mark):
    """Ray was stopped: what it has started is gone, or notices so soon."""
    numbers = processes(mark)
    left = [process for process in psutil.process_iter() if process.pid in numbers]
    assert psutil.wait_procs(left, timeout=60)[1] == []


def finished(folder):
    result = json.loads((folder / "result.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return result, [line["contributors"] for line in lines if "round" in line]


@pytest.fixture(scope="module")
def actors(tiny, tmp_path_factory):
    """A run with an actor that is killed, beside the same run without Ray."""
    folder, mark = tmp_path_factory.mktemp("actors"), uuid.uuid4().hex
    local = sealora.simulate(tiny.plan(folder / "local", SGD, SCAFFOLD), folder / "local" / "run")
    plan = tiny.plan(folder / "ray", SGD, SCAFFOLD, ("[simulation]", RAY))
    command = [sys.executable, str(CHILD), str(plan), str(folder / "ray" / "run"), mark]
    environment = {**os.environ, "SEALORA_TEST_MARK": mark}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert_ended(mark)
    return SimpleNamespace(local=local, run=folder / "ray" / "run", seen=json.loads(done.stdout))


@linux
def test_actors_give_the_same_adapter_although_one_is_killed(actors):
    assert actors.seen["actors"] == 2
    result, contributors = finished(actors.run)
    for key in ("adapter_sha256", "metrics", "sites", "plan_hash", "train_loss"):
        assert result[key] == actors.local.result[key], key
    assert [len(sites) for sites in contributors] == [5, 5, 5]


@linux
def test_a_stranger_without_the_token_is_refused_by_every_server(actors):
    """Ray's servers, the driver and the actors answer calls that bring the token, and no others."""
    seen = actors.seen
    servers = seen["strangers"].keys() - seen["posted"].keys()
    assert len(servers) >= 6, "coordinator, two of the machine's, driver, two actors"
    for port in servers:
        assert set(seen["strangers"][port]) == {"UNAUTHENTICATED", "UNIMPLEMENTED"}
        expected = ["OK" if code == "UNAUTHENTICATED" else code for code in seen["strangers"][port]]
        assert seen["own"][port] == expected, "the calls are real ones"
    assert set(seen["posted"].values()) <= {401, 405}, "405: figures about Ray itself, which can only be read"
    assert 401 in seen["posted"].values()


@linux
def test_servers_listen_on_loopback_and_nobody_elsewhere_is_called(actors):
    addresses = [ip_address(address.removeprefix("::ffff:")) for address in actors.seen["addresses"]]
    assert addresses
    assert all(address.is_loopback for address in addresses), actors.seen["addresses"]
    assert actors.seen["calls"] == []


@linux
def test_the_token_is_in_no_command_and_no_file_and_gone_afterwards(actors):
    seen = actors.seen
    assert seen["token"] == 64
    assert (seen["in_commands"], seen["in_files"], seen["left"]) == (0, [], [])
    assert (seen["mode"], seen["kept"]) == ("0o700", False)


@linux
def test_ctrl_c_stops_ray_and_keeps_finished_rounds(tiny, tmp_path, mark):
    plan = tiny.plan(tmp_path, ("count = 3", "count = 100000"))
    # A shell's background jobs, and what they start, ignore Ctrl-C; this test may be run by one.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [
        sys.executable,
        "-c",
        heed + "from sealora.cli.main import main; main()",
        "simulate",
        str(plan),
    ]
    options = ["--engine", "ray", "--out", str(tmp_path / "run")]
    run = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        began = time.monotonic()
        while not list((tmp_path / "run" / "state").glob("round-0000[0-9][1-9].safetensors")):
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < began + 200
            time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        told = run.communicate(timeout=200)[1]
    finally:
        run.kill()
    assert run.returncode == 130
    assert f"--out {tmp_path / 'run'} --resume --engine ray" in told
    assert "Traceback" not in told
    assert_ended(mark)


def test_an_engine_that_is_not_installed_is_one_line(tiny, tmp_path, command, monkeypatch):
    monkeypatch.setattr("sealora.simulation.engines.find_spec", lambda name: None if name == "ray" else name)
    code, _, told = command("simulate", tiny.plan(tmp_path), "--out", tmp_path / "run", "--engine", "ray")
    assert code == 2
    assert told.strip() == (
        "error: the engine Ray needs the package ray, which is not installed. Install it with: "
        'pip install "sealora[simulation]", or simulate with --engine local.'
    )
    assert not (tmp_path / "run").exists(), "nothing was started"

"""The partners example: real processes, mutual TLS, masks, the bundled model, and agents without network."""

import importlib.util
import io
import json
import math
import sys
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

import sealora
from sealora.plan.writer import dumps
from sealora.protocol.secure_site import SecureSiteHalf

sys.path.insert(0, str(Path(__file__).parents[1] / "partners"))
from recorder import Recorder

EXAMPLE = Path(__file__).parents[2] / "examples" / "partners"
HEADERS = {"net/route": 1, "net/tcp": 1, "net/tcp6": 1, "net/udp": 1, "net/udp6": 1, "net/if_inet6": 0}
"""Lines of a namespace's tables that say nothing yet: no route, no socket, no address."""
WATCHED = "site-01"
WINDOW = 32
"""Bytes of an update, or characters of a text, that occur nowhere by chance."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("partners_example", EXAMPLE / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def federation(example, command, tmp_path, monkeypatch):
    """The example's, with a tenth of the rows; to save time its operators' commands run in this process."""
    monkeypatch.setattr(example, "console", Console(file=io.StringIO()))
    plan = sealora.Plan.load(EXAMPLE / "plan.toml")
    small = plan.replace(data={"rows": 120}, task={"max_length": 16}, training={"epochs": 1})
    path = tmp_path / "plan.toml"
    path.write_text(dumps(small), "utf-8")

    class Small(example.Federation):
        def sealora(self, *words, code=0):
            ended, out, err = command(*words)
            assert ended == code, (words, err)
            return out

        def each(self, work):
            for site in self.rows:
                work(site)

        def process(self, name, words):
            if name == "coordinator":
                words += ("--listen", f"127.0.0.1:{port}")
            elif name == f"{WATCHED}.link":
                words += ("--socket", str(self.root / "pipe.sock"))
            return super().process(name, words)

    made, port = Small(tmp_path / "partners", path), example.free_port()
    monkeypatch.chdir(made.root)
    with (
        Recorder.tcp(port) as made.wire,
        Recorder.unix(made.root / "pipe.sock", made.root / WATCHED / "agent.sock") as made.pipe,
    ):
        monkeypatch.setattr(example, "free_port", lambda: made.wire.port)
        example.found(made)
        example.approve(made)
        yield made


def network_of(process):
    """What there is in the network namespace of a process: its interfaces, and entries of its tables."""
    tables = Path(f"/proc/{process.pid}")
    interfaces = {
        line.partition(":")[0].strip() for line in (tables / "net/dev").read_text().splitlines()[2:]
    }
    found = {name: len((tables / name).read_text().splitlines()) > lines for name, lines in HEADERS.items()}
    return interfaces, {name for name, entries in found.items() if entries}


@pytest.fixture
def updates(monkeypatch):
    """Every vector that a site of a simulation masks."""
    found = []

    def start(self, words, *rest, original=SecureSiteHalf.start):
        found.append(words.astype("<u8").tobytes())
        return original(self, words, *rest)

    monkeypatch.setattr(SecureSiteHalf, "start", start)
    return found


def secrets(federation, updates):
    """Parts of the watched site's texts, the labels, and parts of every site's updates."""
    texts = [row["text"].encode()[:WINDOW] for row in federation.rows[WATCHED]]
    parts = [
        update[start : start + WINDOW] for update in updates for start in range(0, len(update), 16 * WINDOW)
    ]
    return [*texts, b"negative", b"positive", *(part for part in parts if len(set(part)) > WINDOW / 4)]


def written_by(federation):
    """Logs of all processes, and what the parties recorded."""
    return [
        *federation.logs.iterdir(),
        *federation.root.glob("*/audit.jsonl"),
        federation.root / "run/status.json",
    ]


def test_partners_get_the_adapter_of_the_simulation_and_nothing_else_passes_on_the_way(
    example, federation, updates, tmp_path
):
    networks = {}

    def watch(event, sites):
        if (event["event"], event.get("phase")) == ("PhaseOpened", "share"):
            networks.update({site: network_of(agent) for site, agent in sites.agents.items()})

    result = example.train(federation, 60.0, watch)
    simulated = sealora.simulate(federation.root / "plan.toml", tmp_path / "simulated").result
    assert result["adapter_sha256"] == simulated["adapter_sha256"]
    assert (result["metrics"], result["plan_hash"]) == (simulated["metrics"], simulated["plan_hash"])
    assert result["contributors"] == [list(federation.rows)] * 3
    assert "malicious coordinator" in result["guarantee"]
    searched = secrets(federation, updates)
    assert len(searched) > 1000
    written = b"".join(path.read_bytes() for path in written_by(federation))
    assert not [secret for secret in searched if federation.pipe.holds(secret)]
    assert not [secret for secret in searched if federation.wire.holds(secret) or secret in written]
    assert all(len(carried) > 300_000 for carried in federation.pipe.recorded.values())
    if not example.sealed():
        pytest.skip("the rest needs root or user namespaces: no process can give up its network here")
    assert networks == {site: ({"lo"}, set()) for site in federation.rows}


def test_two_dropouts_on_the_way_and_the_run_goes_on(example, federation):
    example.train(federation, 2.0, example.lose)
    run = sealora.Run.load(federation.root / "run")
    first, _, last = run.result["contributors"]
    assert first == list(federation.rows)
    assert last == [site for site in federation.rows if site not in example.LOST.values()]
    assert all(math.isfinite(value) for value in run.metrics.values())
    verify = partial(federation.sealora, "site", "verify", "--json", "--dir")
    for site in federation.rows:
        assert "audit.jsonl" in {facts["file"] for facts in json.loads(verify(site))}


def test_the_readme_is_one_screen_and_names_what_the_script_takes():
    text = (EXAMPLE / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 45
    for words in ("examples/partners/run.py", "--dropouts", "sealora simulate examples/partners/plan.toml"):
        assert words in text

"""Both guides, followed to the letter from empty folders: every command in them is typed, in their order.

Data, plan and model are toys. A folder stands for each machine, files are sent by copying them, and the
coordinator's address is a port on loopback.
"""

import http.client
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest
from processes import Process, free_port

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs"
SITES = ("ams", "ber", "cph")
ELSEWHERE = {"simulate", "audit", "site agent", "site link"}
"""Commands that the guides name and other tests run: examples, audits, and the halves of `site run`."""


def blocks(guide, language):
    text = (DOCS / guide).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Operator:
    """Somebody at a machine who types what a guide says, block by block."""

    def __init__(self, world, name, guide):
        self.world, self.name = world, name
        self.folder = world.folder / name
        self.folder.mkdir()
        self.blocks = iter(blocks(guide, "sh"))
        self.block = ""
        self.process = None

    def turn(self):
        """Go on to the next block."""
        self.block = next(self.blocks)
        return self.block

    def follow(self, code=0):
        """Type the next block, with one's own name for `ams`; returns what was printed."""
        self.turn()
        return self.type(self.name if self.name in SITES else "ams", code)

    def type(self, site="ams", code=0):
        """Type the block, for a site. `code` is that of each command."""
        return "".join(self._type(line, code) for line in self.block.replace("ams", site).splitlines())

    def _type(self, line, code):
        program, *words = (self.world.here(word) for word in shlex.split(line))
        assert program == "sealora"
        self.world.typed.add(" ".join(word for word in words[:2] if word.isalpha()))
        self.world.monkeypatch.chdir(self.folder)
        if words[1:2] == ["run"]:
            self.process = self.world.start(words)
            return ""
        ended, out, err = self.world.command(*words)
        assert ended == code, (line, out, err)
        return out + err

    def send(self, path, *receivers):
        for receiver in receivers:
            shutil.copy(self.folder / path, receiver.folder)


class World:
    """What the operators have in common."""

    def __init__(self, folder, command, monkeypatch):
        self.folder, self.command, self.monkeypatch = folder, command, monkeypatch
        self.typed, self.questions, self.processes = set(), [], []
        self.ports = {"8443": str(free_port()), "9464": "0", "9465": "0"}

    def here(self, word):
        """An address of the guides becomes one of this machine."""
        word = word.replace("federation.example.org", "localhost").replace("0.0.0.0", "127.0.0.1")
        return re.sub(r"\b(8443|9464|9465)\b", lambda found: self.ports[found[0]], word)

    def start(self, words):
        self.processes.append(Process("-m", "sealora", *words))
        return self.processes[-1]

    def confirm(self, question, **_):
        self.questions.append(question)
        return True


@pytest.fixture
def world(tmp_path, command, monkeypatch):
    made = World(tmp_path, command, monkeypatch)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", made.confirm)
    yield made
    for process in made.processes:
        process.kill(signal.SIGTERM)
        process.end()


def rows_of(reviews, number):
    """A header and every third row."""
    header, *rows = reviews.read_text().splitlines()
    return "\n".join([header, *rows[number :: len(SITES)]]) + "\n"


def fetch(process, path):
    """What the process answers on its port for monitoring."""
    (line,) = process.events("metrics")
    connection = http.client.HTTPConnection("127.0.0.1", line["port"], timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def words_of(printed):
    """The lines of a fingerprint, as they are read out."""
    return re.findall(r"^    (.*)$", printed, re.MULTILINE)


def join(coordinator, sites):
    """From nothing to joined, over six telephone calls."""
    federation = coordinator.follow()
    coordinator.turn()
    for site in sites:
        read_out = site.follow()
        site.send(f"{site.name}/{site.name}.request.json", coordinator)
        assert words_of(coordinator.type(site.name)) == words_of(read_out)
        coordinator.send(f"{site.name}.bundle.json", site)
        assert words_of(site.follow()) == words_of(federation)
    listed = coordinator.follow()
    assert all(f"{site.name}: enrolled" in listed for site in sites)


def sign(coordinator, sites):
    """The first roster."""
    coordinator.follow()
    coordinator.send("registry/draft.jsonl", *sites)
    for site in sites:
        assert "Signed by nobody yet; 3 signatures" in site.follow()
        site.follow()
        site.send(f"{site.name}.approval.json", coordinator)
    assert "In force" in coordinator.follow()
    coordinator.send("registry/roster.jsonl", *sites)
    for site in sites:
        assert "follows revision 0, with 3 members" in site.follow()


def approve(coordinator, sites, plan, reviews):
    """A plan, and what the sites say to it."""
    shutil.copy(plan, coordinator.folder)
    assert "is valid" in coordinator.follow()
    coordinator.send("plan.toml", *sites)
    (_, edit) = blocks("site-guide.md", "toml")
    for number, site in enumerate(sites):
        (site.folder / site.name / "records.csv").write_text(rows_of(reviews, number))
        (model,) = re.findall(r"^Base model (\w{64})$", site.follow(3), re.MULTILINE)
        settings = site.folder / site.name / "site.toml"
        line = edit.splitlines()[1].replace("HASH", model)
        settings.write_text(settings.read_text().replace("models = []", line))
        assert "The policy allows this plan." in site.follow()


def run(coordinator, sites):
    """With a stop on the way."""
    starting = coordinator.turn()
    coordinator.type()
    first = coordinator.process
    first.wait_for("waiting", sites=3)
    assert fetch(first, "/health") == (200, "ok\n")
    assert "absent: ams, ber, cph\nwaiting for 3 more sites, " in coordinator.follow()
    assert f"Stopped process {first.pid}." in coordinator.follow()
    assert first.finish() == 0
    coordinator.block = starting
    coordinator.type()
    for site in sites:
        site.follow()
    assert "Adapter: runs/stroke/adapter" in coordinator.process.output()
    assert (coordinator.folder / "runs/stroke/adapter/adapter_model.safetensors").is_file()
    for site in sites:
        assert re.search(r"^sealora_requests_total \d", fetch(site.process, "/metrics")[1], re.MULTILINE)
        assert site.process.kill(signal.SIGINT) == 130


def test_both_guides_are_followed_to_the_letter(world, tiny):
    coordinator = Operator(world, "coordinator", "coordinator-guide.md")
    sites = [Operator(world, name, "site-guide.md") for name in SITES]
    for operator in (coordinator, *sites):
        assert "sealora 0" in operator.follow()
    join(coordinator, sites)
    sign(coordinator, sites)
    assert len(world.questions) == 3 * len(SITES), "enrol, join and sign, each after a comparison"
    edit = ("sites = 5", "sites = 3\n\n[secure_aggregation]\ncolluders = 0")
    approve(coordinator, sites, tiny.plan(world.folder / "plans", edit), tiny.data)
    run(coordinator, sites)
    for site in sites:
        assert "Next: send" in site.follow()
        log = site.follow()
        assert "-> masked" in log
        assert "audit.jsonl:" in log
    assert "is valid until" in coordinator.follow()
    assert "Revoked cph" in coordinator.follow()
    assert "run evaluated" in coordinator.follow()
    assert [next(operator.blocks, "") for operator in (coordinator, *sites)] == [""] * 4, "nothing is left"
    named = {
        " ".join(found).strip()
        for guide in ("site-guide.md", "coordinator-guide.md")
        for found in re.findall(r"sealora ([a-z]+)(?: ([a-z]+)\b)?", (DOCS / guide).read_text("utf-8"))
    }
    assert named - world.typed - ELSEWHERE == set()

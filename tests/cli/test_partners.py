"""A federation from nothing, as its operators type it: every command of enrolment, policy and logs."""

import json
import re
from pathlib import Path

import pytest
from typer.main import get_group

NAMES = ("ams", "ber", "cph")


class Desk:
    """Runs commands and keeps what they print; every one must do what it says."""

    def __init__(self, command, folder):
        self._command, self.folder = command, folder

    def run(self, *words, code=0):
        ended, out, err = self._command(*words)
        assert ended == code, f"{words}: {err}"
        assert "Traceback" not in out + err
        return out, err

    def json(self, *words, code=0):
        return json.loads(self.run(*words, "--json", code=code)[0])

    def at(self, name, *words, code=0):
        return self.run("site", *words, "--dir", self.folder / name, code=code)

    def server(self, *words, code=0):
        return self.run("server", *words, "--dir", self.folder / "fed", code=code)


@pytest.fixture
def desk(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEALORA_PASSPHRASE", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    return Desk(command, tmp_path)


def enrol(desk, name):
    made = desk.json("site", "init", name, "--name", name)
    enrolled = desk.json("server", "enrol", f"{name}/{name}.request.json", "--dir", "fed", "--yes")
    assert made["fingerprint"] == enrolled["fingerprint"], "the words that are read out by telephone"
    joined = desk.json("site", "join", f"{name}.bundle.json", "--dir", name, "--yes")
    assert joined["federation"] == "stroke"
    return joined


def sign(desk, *names):
    approvals = []
    for name in names:
        desk.at(name, "roster", "sign", "fed/draft.jsonl", "--yes")
        approvals.append(f"{name}.approval.json")
    return desk.json("server", "roster", "collect", *approvals, "--dir", "fed")


@pytest.mark.slow
def test_a_new_user_walks_through_everything(desk, tiny):
    federation = desk.json("server", "init", "fed", "--name", "stroke", "--address", "localhost:8443")
    assert len(federation["fingerprint"].split()) == 16
    for name in NAMES:
        assert enrol(desk, name)["roster"] is None

    draft = desk.json("server", "roster", "propose", "--dir", "fed", "--colluders", 0)
    assert draft["needed"] == 3
    seen = desk.json("site", "roster", "review", "fed/draft.jsonl", "--dir", "ams")
    assert (seen["words"], seen["members"]) == (draft["words"], draft["members"])
    assert len(seen["words"].split()) == 24
    assert sign(desk, *NAMES)["in_force"]
    for name in NAMES:
        assert "follows revision 0" in desk.at(name, "roster", "accept", "fed/roster.jsonl", "--yes")[0]

    # A fourth site joins: two of three members are a quorum.
    assert enrol(desk, "dub")["roster"] == seen["hash"]
    desk.server("roster", "propose")
    assert sign(desk, "ams", "ber")["in_force"]
    for name in (*NAMES, "dub"):
        assert "4 members" in desk.at(name, "roster", "accept", "fed/roster.jsonl", "--yes")[0]
    assert "follows this roster already" in desk.at("ams", "roster", "accept", "fed/roster.jsonl")[0]

    # Its plan is refused, then approved line by line.
    plan = tiny.plan(desk.folder / "plans")
    first = desk.json("site", "review", plan, "--dir", "ams", code=3)
    refused = {line["line"] for line in first["lines"] if not line["allowed"]}
    assert refused == {"allow.plans", "allow.models"}
    for runs in ("one run.", "2 runs in all."):
        assert f"Its approvals are good for {runs}" in desk.at("ams", "approve", plan, "--by", "kim")[0]
    settings = desk.folder / "ams" / "site.toml"
    settings.write_text(settings.read_text().replace("models = []", f'models = ["{first["model"]}"]'))
    out, _ = desk.at("ams", "review", plan)
    assert "The policy allows this plan." in out
    assert "Rows never leave this site." in out
    desk.at("ams", "approve", plan, "--withdraw", "--by", "kim")
    desk.at("ams", "review", plan, code=3)

    # Certificates are renewed; a site leaves.
    desk.at("ams", "renew")
    desk.json("server", "enrol", "ams/ams.request.json", "--dir", "fed")
    desk.at("ams", "join", "ams.bundle.json")
    desk.server("renew")
    desk.server("revoke", "dub")
    states = {site["name"]: site["state"] for site in desk.json("server", "sites", "--dir", "fed")}
    assert states == {"ams": "enrolled", "ber": "enrolled", "cph": "enrolled", "dub": "revoked"}
    desk.server("roster", "propose")
    assert "dub (removed)" in desk.at("cph", "roster", "review", "fed/draft.jsonl")[0]
    assert sign(desk, *NAMES)["in_force"]
    status = desk.json("server", "roster", "status", "--dir", "fed")
    assert (sorted(status["in_force"]["members"]), status["draft"]) == (list(NAMES), None)

    # Logs.
    out, _ = desk.at("ams", "log")
    for kind in ("keys made", "joined", "roster approved", "roster pinned", "plan approve", "plan withdraw"):
        assert kind in out
    records = [json.loads(line) for line in desk.at("ams", "log", "--json", "--last", 2)[0].splitlines()]
    assert len(records) == 2
    files = {facts["file"] for facts in desk.json("site", "verify", "--dir", "ams")}
    assert files == {"audit.jsonl", "approvals.jsonl", "roster.jsonl"}
    assert desk.json("site", "egress", "--dir", "ams") == {}
    assert "site revoked" in desk.server("log")[0]
    assert len(desk.json("server", "verify", "--dir", "fed")) == 2


def test_passphrases_come_from_a_file_or_the_environment(desk, monkeypatch):
    secret = desk.folder / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o644)
    _, err = desk.run("site", "init", "ams", "--name", "ams", "--passphrase-file", secret, code=2)
    assert "is open to others than its owner" in err
    secret.chmod(0o600)
    desk.run("site", "init", "ams", "--name", "ams", "--passphrase-file", secret)
    assert b"ENCRYPTED" in (desk.folder / "ams" / "keys" / "identity.pem").read_bytes()
    _, err = desk.at("ams", "renew", code=2)
    assert "is protected by a passphrase" in err
    monkeypatch.setenv("SEALORA_PASSPHRASE", "wrong horse")
    _, err = desk.at("ams", "renew", code=2)
    assert "the passphrase does not open it" in err
    assert "horse" not in err
    monkeypatch.setenv("SEALORA_PASSPHRASE", "correct horse")
    desk.at("ams", "renew")


def test_a_passphrase_is_asked_for(desk, monkeypatch):
    asked = []

    def prompt(text, **options):
        asked.append(options)
        return "correct horse"

    monkeypatch.setattr("typer.prompt", prompt)
    desk.run("site", "init", "ams", "--name", "ams", "--passphrase")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    desk.at("ams", "renew")
    assert [options["hide_input"] for options in asked] == [True, True]


def test_no_option_takes_a_passphrase_itself(desk):
    for words in (("site", "init"), ("site", "renew"), ("server", "init"), ("server", "enrol")):
        out, _ = desk.run(*words, "--help")
        assert "--passphrase TEXT" not in " ".join(out.split())


@pytest.fixture
def asked(desk):
    desk.run("server", "init", "fed", "--name", "stroke", "--address", "localhost:8443")
    desk.run("site", "init", "ams", "--name", "ams")
    return desk


def test_nobody_is_enrolled_without_a_yes(asked, monkeypatch):
    request = "ams/ams.request.json"
    _, err = asked.server("enrol", request, code=2)
    assert "nobody is here to compare the words" in err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    _, err = asked.server("enrol", request, code=3)
    assert "not confirmed: nothing was changed" in err
    assert asked.json("server", "sites", "--dir", "fed") == []
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    asked.server("enrol", request)
    # Known by now: a renewal asks nobody.
    monkeypatch.setattr("typer.confirm", lambda *_, **__: pytest.fail("it asked"))
    asked.at("ams", "renew")
    asked.server("enrol", request)


def test_folders_come_from_the_environment_too(asked, monkeypatch):
    monkeypatch.setenv("SEALORA_SERVER", str(asked.folder / "fed"))
    monkeypatch.setenv("SEALORA_SITE", str(asked.folder / "ams"))
    asked.run("server", "enrol", "ams/ams.request.json", "--yes")
    asked.run("site", "join", "ams.bundle.json", "--yes")
    assert "keys made" in asked.run("site", "log")[0]


@pytest.mark.parametrize("guide", ["site-guide.md", "coordinator-guide.md"])
def test_the_commands_of_the_guides_exist(guide):
    from sealora.cli.server import app as server
    from sealora.cli.site import app as site

    text = (Path(__file__).parents[2] / "docs" / guide).read_text("utf-8")
    named = set(re.findall(r"sealora (site|server) ([a-z]+)(?: ([a-z]+)\b(?!\.))?", text))
    assert len(named) > 5
    groups = {"site": get_group(site), "server": get_group(server)}
    for party, name, below in named:
        command = groups[party].commands[name]
        if name == "roster":
            assert below in command.commands

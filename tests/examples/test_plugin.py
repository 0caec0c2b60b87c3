"""The example package: it builds, Sealora finds it, and its own tests pass."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEALORA = ("-c", "from sealora.cli.main import main; main()")
PACKAGE = ROOT / "examples" / "plugin-strategy"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs Python with arguments, the package installed beside Sealora, in a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PACKAGE, folder / "source")  # a build leaves files in its source

    def python(*arguments: object, path: str = str(folder / "installed")):
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)

    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", folder / "installed")
    installed = python("-m", "pip", "install", *options, folder / "source", path="")
    assert installed.returncode == 0, installed.stderr
    return python


def test_sealora_finds_it(run):
    found = run(*SEALORA, "strategies", "bounded", "--json")
    assert found.returncode == 0, found.stderr
    facts = json.loads(found.stdout)
    assert (facts["name"], facts["sends"], facts["options"][0]["key"]) == (
        "bounded",
        "A, B, head",
        "largest_step",
    )


def test_its_plan_is_checked_with_its_options(run):
    shown = run(*SEALORA, "plan", "show", PACKAGE / "bounded.toml")
    assert shown.returncode == 0, shown.stderr
    assert 'options = { "largest_step" = 0.5 }' in shown.stdout


def test_its_plan_is_sound_and_a_shortened_run_of_it_finishes(run, tmp_path):
    short = tmp_path / "bounded.toml"
    text = (PACKAGE / "bounded.toml").read_text("utf-8").replace("rows = 400", "rows = 60")
    short.write_text(text.replace("max_length = 64", "max_length = 16"), "utf-8")
    checked = run(*SEALORA, "plan", "check", PACKAGE / "bounded.toml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "warning" not in checked.stdout
    done = run(*SEALORA, "simulate", short, "--rounds", 1, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["sites"]) == 4


def test_its_own_tests_pass(run):
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider", PACKAGE / "tests", "--rootdir", PACKAGE)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout


def test_without_it_the_plan_is_one_line(run):
    shown = run(*SEALORA, "plan", "show", PACKAGE / "bounded.toml", path="")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "strategy.name: there is no strategy of this name." in shown.stderr

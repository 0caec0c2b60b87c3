"""Documents with their code blocks, and one small run that scripts from them can use."""

import re
from pathlib import Path

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

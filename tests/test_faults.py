"""Every test that docs/faults.md names exists, and every test of a fault is named there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "faults.md").read_text()
NAMED = sorted(set(re.findall(r"\[`([\w/.-]+\.py::\w+)`\]", DOCUMENT)))
FILES = ("admission", "kill_each_phase", "kills", "machines", "network", "outages", "schedules", "sites")


def named_in(path: str) -> set[str]:
    """Names of the tests in a file."""
    functions = (
        node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
    )
    return {function.name for function in functions if function.name.startswith("test_")}


def test_each_row_names_tests() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("|")]
    rows = [row for row in rows if not row.startswith(("| what", "|---"))]
    assert len(rows) > 30
    assert [row for row in rows if "::" not in row] == []
    assert DOCUMENT.count("::") == len(re.findall(r"\[`[\w/.-]+\.py::\w+`\]", DOCUMENT))


@pytest.mark.parametrize("name", NAMED)
def test_the_test_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert function in named_in(path)


@pytest.mark.parametrize("file", FILES)
def test_each_test_of_a_fault_has_its_row(file: str) -> None:
    path = f"tests/partners/test_{file}.py"
    assert {f"{path}::{test}" for test in named_in(path)} <= set(NAMED)

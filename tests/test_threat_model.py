"""Every test that the threat model names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "threat-model.md"
NAMED = sorted(set(re.findall(r"`([\w/.-]+\.py::[\w.]+)`", DOCUMENT.read_text())))
ATTACKS = "tests/protocol/secure/adversary/attacks_on_entry.py"


def functions(path: str) -> set[str]:
    """Names of the functions of a file's top level."""
    return {
        node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
    }


def test_the_claims_name_tests() -> None:
    text = DOCUMENT.read_text()
    assert len(NAMED) >= 25
    assert text.count("::") == len(re.findall(r"`[\w/.-]+\.py::[\w.]+`", text))


@pytest.mark.parametrize("name", NAMED)
def test_the_test_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert function.startswith("test_")
    assert function in functions(path)


def test_the_attack_named_exists() -> None:
    assert "fallback_to_plain" in functions(ATTACKS)

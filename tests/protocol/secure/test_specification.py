"""SPEC.md and the code stay together: each function named exists, and each check is named."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

import sealora.protocol
from sealora.protocol import admission, site_checks

FOLDER = Path(sealora.protocol.__file__).parent
TEXT = (FOLDER / "SPEC.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`([a-z_]+\.[A-Za-z_.]+)`", TEXT)))
CLAUSES = re.findall(r"^(\d+)\.(\d+)\. ", TEXT, re.MULTILINE)


@pytest.mark.parametrize("name", NAMED)
def test_what_the_specification_names_exists(name):
    module, *attributes = name.split(".")
    if attributes == ["proto"]:
        assert (FOLDER / name).is_file()
        return
    found = importlib.import_module(f"sealora.protocol.{module}")
    for attribute in attributes:
        found = getattr(found, attribute)


@pytest.mark.parametrize("module", [admission, site_checks])
def test_every_check_is_in_the_specification(module):
    own = module.__name__.rpartition(".")[2]
    checks = {name for name, _ in inspect.getmembers(module, inspect.isfunction) if name.startswith("check_")}
    assert checks
    assert {f"{own}.{name}" for name in checks} <= set(NAMED)


def test_every_failure_class_raised_is_listed():
    listed = set(re.findall(r"`([a-z_]+)`", TEXT.partition("6.2.")[2].partition("6.3.")[0]))
    modules = ("admission", "attempts", "groups", "keys", "roster", "secure_site", "site_checks")
    sources = "".join((FOLDER / f"{name}.py").read_text("utf-8") for name in modules)
    raised = set(re.findall(r'ProtocolError\(\s*"([a-z_]+)"', sources))
    assert raised <= listed
    assert listed - raised <= {"malformed", "wrong_dimension", "tampered"}


def test_clauses_are_numbered_in_order():
    numbers = [(int(section), int(clause)) for section, clause in CLAUSES]
    assert numbers == sorted(set(numbers))
    sections = {section for section, _ in numbers}
    for section in sections:
        clauses = [clause for own, clause in numbers if own == section]
        assert clauses == list(range(1, len(clauses) + 1))

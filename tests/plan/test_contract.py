"""The hash is over what the parties share, and over nothing else."""

import json
import tomllib
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.models.settings import ColumnSettings
from sealora.plan import schema
from sealora.plan.contract import canonical, contract, resolved, sha256
from sealora.plan.loader import Plan, load
from sealora.plan.settings import PlanSettings
from sealora.plan.validation import with_tuples
from sealora.plan.writer import dumps

FIXTURES = Path(__file__).parent / "fixtures"
FULL = tomllib.loads((FIXTURES / "full.toml").read_text("utf-8"))
NOT_SHARED = {("model", "device"), ("data", "rows"), ("data", "path"), ("data", "label_map")}
NOT_SHARED |= {("privacy", "public_holdout"), ("data", "group_column")}
NOT_SHARED |= {("data", key) for key in (*ColumnSettings.model_fields, "filter_column", "filter_value")}
KEYS = [(name, key) for name, section in FULL.items() if isinstance(section, dict) for key in section]
# Another strategy, or another task, has other options.
KEYS = [key for key in KEYS if key not in {("strategy", "name"), ("task", "name"), ("task", "options")}]
KEYS += [("", key) for key, value in FULL.items() if not isinstance(value, dict) and key != "schema"]


def hash_of(table):
    """The hash of a table of TOML values, whether or not the combination can be run."""
    return sha256(canonical(contract(PlanSettings.model_validate(with_tuples(table)))))


def another(section, key, value):
    """A valid value of the key that differs from `value`."""
    kind = dict(schema.sections())[section] if section else PlanSettings
    if (section, key) == ("strategy", "options"):
        return {"mu": value["mu"] + 1e-12}
    annotation = schema.fields(kind)[key].annotation
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return value[::-1]
    if isinstance(value, dict):
        return {**value, "new": next(iter(value.values()))}
    return value + {str: "x", int: 1, float: 1e-12}[type(value)]


@pytest.mark.parametrize("name", ["minimal", "full"])
def test_frozen_plans_keep_their_hash(name):
    """The format is a promise: a change here is a new schema number."""
    assert load(FIXTURES / f"{name}.toml").hash == json.loads((FIXTURES / "hashes.json").read_text())[name]


def test_the_full_fixture_has_every_key_away_from_its_default():
    for name, section in schema.sections():
        assert set(FULL[name]) == set(schema.fields(section))
    minimal = resolved(load(FIXTURES / "minimal.toml"))
    same = {(name, key) for name, key in KEYS if name and FULL[name][key] == minimal[name].get(key)}
    # Record-level privacy excludes them.
    assert same == {("lora", "dropout"), ("training", "label_calibration")}


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_each_shared_key_counts_and_no_other(section, key):
    changed = {**FULL, section: {**FULL[section]}} if section else {**FULL}
    holder = changed[section] if section else changed
    holder[key] = another(section, key, holder[key])
    excluded = section == "simulation" or (section, key) in NOT_SHARED
    assert (hash_of(changed) == hash_of(FULL)) == excluded


def test_the_strategy_and_its_resolved_options_count():
    def of(strategy):
        return hash_of({**FULL, "strategy": strategy})

    assert of({"name": "fedavg"}) != of({"name": "ffa"})
    assert of({"name": "fedprox"}) == of({"name": "fedprox", "options": {"mu": 0.01}})
    assert of({"name": "fedprox", "options": {"mu": 1}}) == of({"name": "fedprox", "options": {"mu": 1.0}})
    assert of({"name": "fedprox", "options": {"mu": 1}}) != of({"name": "fedprox"})


def test_canonical_text_is_sorted_compact_ascii():
    text = load(FIXTURES / "full.toml").canonical
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert text.isascii()
    assert '"learning_rate":0.0005' in text
    assert '"alpha":32.0' in text
    assert "reports.csv" not in text


def layout_of(draw, table):
    """The same plan as other TOML: other order, dotted keys or tables, comments, blanks."""
    blank = st.sampled_from(["", "\n", "# comment = 1\n", "  \t\n"])
    top, blocks = [], []
    for name, value in draw(st.permutations(list(table.items()))):
        pairs = value.items() if isinstance(value, dict) else [(None, value)]
        form = draw(st.sampled_from(["table", "dotted", "inline"]))
        lines = [
            (key, json.dumps(item, ensure_ascii=False)) for key, item in draw(st.permutations(list(pairs)))
        ]
        lines = [(key, text if not text.startswith("{") else inline(json.loads(text))) for key, text in lines]
        if not isinstance(value, dict):
            top.append(f"{name} = {lines[0][1]} # {name}\n")
        elif form == "dotted":
            top += [f"{name} . {json.dumps(key)}={text}\n{draw(blank)}" for key, text in lines]
        elif form == "inline":
            top.append(f"{name} = {{ {', '.join(f'{key} = {text}' for key, text in lines)} }}\n")
        else:
            blocks.append(f"[ {name} ]\n" + "".join(f"{draw(blank)}{key} = {text}\n" for key, text in lines))
    return "".join([draw(blank), *top, *blocks])


def inline(table):
    return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(item)}" for key, item in table.items()) + "}"


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.data())
def test_the_form_of_the_text_does_not_count(data):
    text = layout_of(data.draw, FULL)
    assert Plan.from_text(text).canonical == load(FIXTURES / "full.toml").canonical


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, unique=True),
    learning_rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100),
    label_map=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.just("x")),
)
def test_the_shown_plan_loads_to_the_same_plan(labels, learning_rate, name, label_map):
    plan = PlanSettings.model_validate(
        with_tuples(
            {
                "schema": 1,
                "name": name,
                "model": {"name": name},
                "task": {"labels": labels},
                "training": {"learning_rate": learning_rate},
                "data": {"label_map": label_map},
            }
        )
    )
    again = PlanSettings.model_validate(with_tuples(tomllib.loads(dumps(plan))))
    assert again == plan

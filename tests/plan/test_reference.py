"""The manual's page and the starter plan follow the code."""

from pathlib import Path

import pytest

from sealora.models.task_registry import BUILT_IN
from sealora.plan import schema
from sealora.plan.loader import Plan
from sealora.plan.reference import render
from sealora.plan.settings import PlanSettings
from sealora.plan.starter import starter

PAGE = Path(__file__).parents[2] / "docs" / "plan.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == render(), "run: python -m sealora.plan.reference docs/plan.md"


def test_every_key_is_described():
    for section in (PlanSettings, *(kind for _, kind in schema.sections())):
        for name, info in schema.fields(section).items():
            assert info.description or schema.section(info), name


def test_the_starter_is_a_plan_without_warnings():
    plan = Plan.from_text(starter())
    assert plan.warnings == ()
    assert plan.model.name == "bundled:minilm"


@pytest.mark.parametrize("epsilon", [0.0, 8.0])
@pytest.mark.parametrize("task", BUILT_IN)
def test_every_task_has_a_starter_without_warnings(task, epsilon):
    plan = Plan.from_text(starter(task, epsilon=epsilon))
    assert (plan.task.name, plan.warnings) == (task, ())
    assert (plan.privacy.private, plan.privacy.epsilon) == (epsilon > 0, epsilon)


def test_the_starter_takes_any_name():
    name = 'a "b" {c} \\ é'
    assert Plan.from_text(starter(model=name)).model.name == name

"""The manual's page of strategies follows the code, and what it says is what strategies do."""

from dataclasses import replace
from pathlib import Path

import pytest

from sealora.plan.loader import Plan
from sealora.plan.strategy_reference import facts_of, render
from sealora.protocol.errors import PlanError
from sealora.strategies.fedprox import FedProx
from sealora.strategies.registry import BUILT_IN

PRIVATE = """\
schema = 1
model.name = "m"
task.labels = ["a", "b"]
strategy.weighting = "uniform"
data.drop_duplicates = false
privacy = { guarantee = "record", epsilon = 8.0, delta = 1e-5, sampling_rate = 0.1, expected_batch = 32 }
"""
PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == render(), (
        "run: python -m sealora.plan.strategy_reference docs/strategies.md"
    )


@pytest.mark.parametrize(
    ("name", "sends", "personal", "up", "down"),
    [
        ("fedavg", "A, B, head", "", 1, 1),
        ("ffa", "B, head", "", 0.5, 0.5),
        ("fedsvd", "B, head", "", 0.5, 1),
        ("rolora", "B, head / A, head", "", 0.5, 1),
        ("fedsa", "A, head", "B", 0.5, 0.5),
        ("scaffold", "A, B, head, control", "", 2, 2),
        ("fed_sb", "R, head", "", 8**2 / (2 * 8 * 4096), 8**2 / (2 * 8 * 4096)),
        ("hetlora", "head, factors, norm", "", 1 + 1 / (2 * 8 * 4096), 1),
        ("flexlora", "head, right sketch, left sketch", "", 81 * 3 / 16, 1),
        ("flora", "head, right sketch, left sketch", "", 81 * 3 / 16, 4096 / 16),
        ("fedex", "A, B, head, right sketch, left sketch", "", 1 + 81 * 3 / 16, 1 + 4096 / 16),
    ],
)
def test_what_travels(name, sends, personal, up, down):
    """Sketches of 8 sites of rank 8 are 81 wide: 8·8 + 8 and an eighth of that."""
    facts = facts_of(name)
    assert (facts.sends, facts.personal, facts.upload, facts.download) == (sends, personal, up, down)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_strategy_is_described(name):
    facts = facts_of(name)
    assert facts.summary
    assert "arXiv" in facts.source
    assert facts.secure_aggregation == ("in groups" if facts.arithmetic == "robust" else "yes")
    assert all(option.meaning != "None" and option.default for option in facts.options)


def test_what_a_card_says_of_privacy_is_told_and_held_plans_to(monkeypatch):
    assert all(facts_of(name).record_privacy for name in BUILT_IN)
    monkeypatch.setattr(FedProx, "card", replace(FedProx.card, record_privacy=False))
    assert not facts_of("fedprox").record_privacy
    (row,) = (line for line in render().splitlines() if line.startswith("| [`fedprox`]"))
    assert [cell.strip() for cell in row.split("|")][8] == "no"
    plan = Plan.from_text(PRIVATE)
    with pytest.raises(
        PlanError, match=r"guarantee: fedprox needs figures about rows.* of \"fedavg\""
    ) as told:
        plan.replace(strategy={"name": "fedprox"})
    assert "fedprox" not in told.value.remedy


def test_an_unknown_one_is_one_line():
    with pytest.raises(PlanError, match="there is no strategy named 'nope'"):
        facts_of("nope")

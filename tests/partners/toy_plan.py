"""The plan that all processes of a test share, from a file: partners hold their plan themselves."""

import json
from pathlib import Path

from sealora.client.contract import Contract
from sealora.plan import contract as contracts
from sealora.plan.settings import CohortSettings, PlanSettings, RoundsSettings
from sealora.protocol.settings import SecureAggregationSettings
from sealora.simulation.toy import ToyMetrics, toy_plan
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings


def write(folder: Path, sites: int, secure: bool = True, rounds: int = 2, **options: object) -> None:
    """`options`: deadline, attempts, quorum, colluders, strategy (its table)."""
    content = {"sites": sites, "secure": secure, "rounds": rounds, **options}
    (folder / "plan.json").write_text(json.dumps(content))


def read(folder: Path) -> tuple[list[str], PlanSettings]:
    content = json.loads((folder / "plan.json").read_text())
    plan = toy_plan(
        rounds=RoundsSettings(
            count=content["rounds"],
            deadline=float(content.get("deadline", 60.0)),
            attempts=content.get("attempts", 3),
        ),
        cohort=CohortSettings(quorum=content.get("quorum", 0.5)),
        secure_aggregation=SecureAggregationSettings(
            enabled=content["secure"], colluders=content.get("colluders", -1)
        ),
        strategy=StrategySettings.model_validate(content.get("strategy", {})),
    )
    return [f"site-{number}" for number in range(1, content["sites"] + 1)], plan


def contract_of(plan: PlanSettings) -> Contract:
    plan_hash = bytes.fromhex(contracts.sha256(contracts.canonical(contracts.contract(plan))))
    return Contract(plan, plan_hash, ToyMetrics(), load_strategy(plan.strategy))

"""What all parties of a run agree on, as the code of each has it."""

from dataclasses import dataclass

from sealora.models.task import Metrics
from sealora.plan.settings import PlanSettings
from sealora.strategies.strategy import Strategy


@dataclass(frozen=True)
class Contract:
    """A plan, its hash, and the task and strategy that it names."""

    plan: PlanSettings
    plan_hash: bytes
    task: Metrics
    strategy: Strategy

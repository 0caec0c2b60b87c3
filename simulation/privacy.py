"""Record-level privacy in a simulated run: private trainers, ledgers, public metrics, and the account."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealora.client.private_trainer import PrivateTrainer
from sealora.client.self_test import synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.client.trainer import Trainer
from sealora.models.base import Base
from sealora.models.cleaning import clean
from sealora.models.site_data import SiteData
from sealora.models.table import read_table
from sealora.models.task import Example, Task
from sealora.plan.privacy_forecast import plan_schedule
from sealora.plan.settings import PlanSettings
from sealora.privacy.ledger import read_charges
from sealora.privacy.schedule import Schedule
from sealora.privacy.statement import record_statement


def private_trainers(plan: PlanSettings, task: Task, base: Base) -> Callable[[TorchTrainer], Trainer]:
    """Wraps trainers in DP-SGD; each runs its self-test."""
    planned = plan_schedule(plan)
    synthetic = synthetic_examples(task, len(base.tokenizer))

    def wrap(inner: TorchTrainer) -> Trainer:
        return PrivateTrainer(inner, plan.privacy, planned, plan.training.microbatch_size, synthetic)

    return wrap


def all_to_training(data: SiteData) -> SiteData:
    """No row is held out: the split would let one row move others, and metrics would be releases."""
    return SiteData([*data.train, *data.test], [], data.report)


def public_examples(plan: PlanSettings, task: Task, base: Base) -> Sequence[Example]:
    """The rows of the public hold-out. Raises DataError if it cannot be used."""
    settings = plan.data.model_copy(update={"filter_column": "", "filter_value": ""})
    table = read_table(settings, plan.privacy.public_holdout)
    rows, _ = clean(table, settings, task, base.tokenizer)
    return [Example(row.tokens, row.target) for row in rows]


def ledger_path(folder: Path, site: str) -> Path:
    """Where a simulated site keeps its ledger."""
    return folder / f"{site}.jsonl"


def account(plan: PlanSettings, ledgers: Path, sites: Sequence[str]) -> Mapping[str, Any] | None:
    """What the run has cost by the sites' ledgers, lost attempts included; None without a guarantee."""
    if not plan.privacy.private:
        return None
    planned = plan_schedule(plan)
    spent = {site: _spent(ledger_path(ledgers, site), planned) for site in sites}
    most = max(spent.values(), default=0.0)
    return {
        "guarantee": plan.privacy.guarantee,
        "statement": record_statement(most, planned.budget.delta, planned.accountant.name),
        "epsilon": most,
        "delta": planned.budget.delta,
        "budget": planned.budget.epsilon,
        "accountant": planned.accountant.name,
        "relation": planned.accountant.relation,
        "clipping_norm": plan.privacy.clipping_norm,
        "noise_multiplier": planned.noise_multiplier,
        "sampling_rate": planned.round_event.sampling_rate,
        "expected_batch": plan.privacy.expected_batch,
        "steps_per_round": planned.round_event.steps,
        "metrics": plan.privacy.metrics,
        "sites": spent,
    }


def _spent(path: Path, planned: Schedule) -> float:
    """ε of everything in a ledger; 0 for a site that never trained."""
    events = [charge.event for charge in read_charges(path)] if path.exists() else []
    return planned.accountant.epsilon(events, planned.budget.delta)

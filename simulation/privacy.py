"""Record-level privacy in a simulated run: private trainers, purses and public metrics."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import datasets

from sealora.client.private_trainer import PrivateTrainer
from sealora.client.purse import Purse
from sealora.client.self_test import synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.client.trainer import Trainer
from sealora.models.base import Base
from sealora.models.cleaning import clean
from sealora.models.data_path import expand
from sealora.models.fingerprint import table_digest
from sealora.models.table import read_table
from sealora.models.task import Example, Task
from sealora.plan.payload import trained_layouts
from sealora.plan.privacy_forecast import plan_schedule
from sealora.plan.problems import did_you_mean
from sealora.plan.settings import PlanSettings
from sealora.privacy.events import Budget
from sealora.protocol.errors import UsageError
from sealora.strategies.registry import load_strategy


def private_trainers(plan: PlanSettings, task: Task, base: Base) -> Callable[[TorchTrainer], Trainer]:
    """Wraps trainers in DP-SGD; each runs its self-test."""
    planned = plan_schedule(plan)
    synthetic = synthetic_examples(task, len(base.tokenizer))
    strategy = load_strategy(plan.strategy)

    def wrap(inner: TorchTrainer) -> Trainer:
        layouts = trained_layouts(plan, strategy, inner.layout)
        return PrivateTrainer(inner, plan.privacy, planned, plan.training.microbatch_size, synthetic, layouts)

    return wrap


def public_examples(plan: PlanSettings, task: Task, base: Base) -> Sequence[Example]:
    """The rows of the public hold-out. Raises DataError if it cannot be used."""
    unused = dict.fromkeys(("filter_column", "filter_value", "group_column"), "")
    settings = plan.data.model_copy(update=unused)
    table = read_table(settings, task.card.columns(settings), plan.privacy.public_holdout)
    rows, _ = clean(table, settings, task, base.tokenizer)
    return [row.example for row in rows]


def make_purses(
    plan: PlanSettings, ledgers: Path, tables: Mapping[str, datasets.Dataset]
) -> dict[str, Purse]:
    """A purse for each site, bound to its rows; none without a guarantee.

    Raises UsageError for a budget of a site that there is not, and what `Purse.check` raises.
    """
    if not plan.privacy.private:
        return {}
    budgets = plan.simulation.budgets
    for name in budgets.keys() - tables.keys() - {"*"}:
        raise UsageError(
            f"simulation.budgets names {name!r}, which is no site of this run.",
            did_you_mean(name, list(tables)),
        )
    planned = plan_schedule(plan)
    usual = budgets.get("*", plan.privacy.epsilon)
    purses = {
        name: Purse(
            ledger_path(ledgers, name),
            name,
            planned,
            Budget(budgets.get(name, usual), plan.privacy.delta),
            table_digest(table),
        )
        for name, table in tables.items()
    }
    for purse in purses.values():
        purse.check()
    return purses


def ledger_folder(plan: PlanSettings, state: Path) -> Path:
    """Where the simulated sites' ledgers are: with the run, or where they outlive it."""
    return (
        expand(plan.simulation.ledgers, "simulation.ledgers")
        if plan.simulation.ledgers
        else state / "ledgers"
    )


def ledger_path(folder: Path, site: str) -> Path:
    """Where a simulated site keeps its ledger."""
    return folder / f"{site}.jsonl"

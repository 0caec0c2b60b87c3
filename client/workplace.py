"""Makes a site out of its folder: what its operator set up and approved, its data, and the model."""

from dataclasses import replace
from pathlib import Path

import datasets

from sealora.client.attempt_file import AttemptFile
from sealora.client.base_facts import weights_size
from sealora.client.contract import Contract
from sealora.client.membership import SecureSessionsOfSite
from sealora.client.memory import SiteMemory
from sealora.client.policy import Case, spendable
from sealora.client.policy_book import PolicyBook, epsilon_after
from sealora.client.private_trainer import PrivateTrainer
from sealora.client.purse import Purse
from sealora.client.resources import limit_memory
from sealora.client.self_test import synthetic_examples
from sealora.client.site import SessionFactory, Site
from sealora.client.site_config import data_settings
from sealora.client.site_folder import SiteFolder
from sealora.client.site_settings import SiteSettings
from sealora.client.torch_trainer import TorchTrainer
from sealora.client.trainer import Trainer
from sealora.models.base import Base, base_hash, load_base
from sealora.models.fingerprint import table_digest
from sealora.models.lora import initial_adapter
from sealora.models.site_data import prepare
from sealora.models.table import draw_rows, read_table
from sealora.models.task import Task, load_task
from sealora.plan.loader import Plan
from sealora.plan.payload import trained_layouts
from sealora.plan.privacy_forecast import plan_schedule
from sealora.protocol.keys import IdentityKey
from sealora.protocol.plain import PlainSiteHalf
from sealora.strategies.registry import load_strategy


def open_site(folder: SiteFolder, plan: Plan, identity: IdentityKey, attempts: AttemptFile) -> Site:
    """Load the model once and prepare the rows; the site keeps both as long as it lives.

    Raises UsageError for what is unusable; RefusedError or BudgetError if the policy refuses the plan.
    """
    book = PolicyBook(folder)
    settings = book.policy().settings
    limit_memory(settings.resources)
    task = load_task(plan.task)
    base = load_base(plan.model, task)
    private = plan.privacy.private
    if private:
        base = replace(base, autocast=None)  # single gradients must be exact before they are clipped
    plan = plan.with_model_hash(base_hash(base))
    _require_allowed(book, plan, base)
    trainer = _trainer(plan, task, base)
    where = data_settings(plan, settings, folder.path)
    table = read_table(where, task.card.columns(where))
    return Site(
        name=folder.name,
        contract=Contract(plan, bytes.fromhex(plan.hash), task, load_strategy(plan.strategy)),
        trainer=trainer,
        first=initial_adapter(trainer.layout, plan.seed).tensors,
        data=prepare(
            draw_rows(table, 0 if private else where.rows, plan.seed),
            task,
            base.tokenizer,
            where,
            plan.seed,
            folder.name,
            hold_out=not private,
        ),
        memory=SiteMemory(folder.path / "memory" / plan.hash[:16]),
        new_session=_sessions(folder, plan, identity, attempts),
        purse=_purse(book, settings, plan, table) if private else None,
        policy=book,
    )


def _purse(book: PolicyBook, settings: SiteSettings, plan: Plan, table: datasets.Dataset) -> Purse:
    """Pays from the ledger of the data set."""
    purse = Purse(
        book.ledger_path(settings),
        settings.data.name,
        plan_schedule(plan),
        spendable(settings, plan),
        table_digest(table),
    )
    purse.check()
    return purse


def _require_allowed(book: PolicyBook, plan: Plan, base: Base) -> None:
    """Tell the operator now what every round would be refused for."""
    policy = book.policy()
    ledger = book.ledger_path(policy.settings)
    policy.require(
        Case(
            plan=plan,
            plan_hash=plan.hash,
            now=book.clock(),
            memory=weights_size(base),
            epsilon_after=lambda delta: epsilon_after(ledger, plan, 1, 0, delta),
        )
    )


def _trainer(plan: Plan, task: Task, base: Base) -> Trainer:
    trainer = TorchTrainer(base, task, plan.lora, plan.training, plan.rounds.count)
    if not plan.privacy.private:
        return trainer
    synthetic = synthetic_examples(task, len(base.tokenizer))
    layouts = trained_layouts(plan, load_strategy(plan.strategy), trainer.layout)
    return PrivateTrainer(
        trainer, plan.privacy, plan_schedule(plan), plan.training.microbatch_size, synthetic, layouts
    )


def _sessions(folder: SiteFolder, plan: Plan, identity: IdentityKey, attempts: AttemptFile) -> SessionFactory:
    if not plan.secure_aggregation.enabled:
        return PlainSiteHalf
    return SecureSessionsOfSite(folder, identity, attempts.log, plan)


def attempts_path(folder: SiteFolder) -> Path:
    """The site's one attempt log, over all runs."""
    return folder.path / "attempts.jsonl"

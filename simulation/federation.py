"""Builds the parties of a simulated run: one base model, many sites, one coordinator's view."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from sealora.client.memory import SiteMemory
from sealora.client.site import Contract, Site
from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import Adapter
from sealora.models.base import base_hash, load_base
from sealora.models.lora import initial_adapter
from sealora.models.site_data import prepare
from sealora.models.table import draw_rows, read_table
from sealora.models.task import Example, Task, load_task
from sealora.plan.loader import Plan
from sealora.plan.workers import simulated_workers
from sealora.protocol.errors import UsageError
from sealora.server.sessions import Sessions
from sealora.simulation.identities import make_identities
from sealora.simulation.partition import partition
from sealora.simulation.trainer_pool import TrainerPool
from sealora.strategies.registry import load_strategy


@dataclass
class Federation:
    """Everything that a simulated run needs, made from a plan."""

    plan: Plan
    """Bound to the base model's hash."""
    task: Task
    model: PeftModel
    """The base with the adapter's structure."""
    trainer: TrainerPool
    contract: Contract
    sites: dict[str, Site]
    sessions: Sessions
    initial: Adapter

    @property
    def train_rows(self) -> list[Example]:
        """All sites' training rows together."""
        return [example for site in self.sites.values() for example in site.data.train]

    @property
    def test_rows(self) -> list[Example]:
        """All sites' test rows together."""
        return [example for site in self.sites.values() for example in site.data.test]


def assemble(plan: Plan, memories: Path, tell: Callable[[str], None] = lambda _: None) -> Federation:
    """Load the model once, deal the data to sites and make them. Raises UsageError for what is unusable.

    `tell` is given a short sentence before each step that takes time.
    """
    if plan.privacy.private:
        raise UsageError("private training is not available in simulations.", 'Write guarantee = "none".')
    task = load_task(plan.task)
    strategy = load_strategy(plan.strategy)
    tell("Reading the data")
    table = draw_rows(read_table(plan.data), plan.data.rows, plan.seed)
    shares = partition(table, plan.simulation, plan.data.label_column, plan.seed)
    tell(f"Loading the model {plan.model.name}")
    base = load_base(plan.model, task)
    plan = plan.with_model_hash(base_hash(base))
    single = TorchTrainer(base, task, plan.lora, plan.training, plan.rounds.count)
    trainer = TrainerPool(single, min(simulated_workers(plan), len(shares)))
    contract = Contract(plan, bytes.fromhex(plan.hash), task, strategy)
    tell(f"Preparing the data of {len(shares)} sites")
    identities = make_identities(list(shares), plan.secure_aggregation)
    sites = {
        name: Site(
            name=name,
            contract=contract,
            trainer=trainer,
            data=prepare(table.select(rows), task, base.tokenizer, plan.data, plan.seed, name),
            memory=SiteMemory(memories / name),
            new_session=identities.sites[name],
        )
        for name, rows in shares.items()
    }
    initial = initial_adapter(trainer.layout, plan.seed)
    return Federation(plan, task, single.model, trainer, contract, sites, identities.coordinator, initial)

"""Builds the parties of a simulated run: one base model, many sites, one coordinator's view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from peft import PeftModel

from sealora.client.contract import Contract
from sealora.client.memory import SiteMemory
from sealora.client.site import Site
from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import Adapter, Tensors
from sealora.models.base import Base, base_hash, load_base
from sealora.models.lora import initial_adapter
from sealora.models.site_data import SiteData, prepare
from sealora.models.table import draw_rows, read_table
from sealora.models.task import Counts, Example, Task, load_task
from sealora.plan.loader import Plan
from sealora.plan.workers import simulated_workers
from sealora.protocol.errors import PlanError
from sealora.server.sessions import Sessions
from sealora.simulation.groups import deal, shared_by
from sealora.simulation.identities import make_identities
from sealora.simulation.privacy import (
    all_to_training,
    ledger_folder,
    make_purses,
    private_trainers,
    public_examples,
)
from sealora.simulation.trainer_pool import TrainerPool
from sealora.strategies.registry import load_strategy


@dataclass
class Federation:
    """Everything that a simulated run needs, made from a plan."""

    plan: Plan
    """Bound to the base model's hash."""
    task: Task
    base: Base
    model: PeftModel
    """The base with the adapter's structure."""
    trainer: TrainerPool
    contract: Contract
    sites: dict[str, Site]
    sessions: Sessions
    initial: Adapter
    ledgers: Path
    """Folder of the sites' privacy ledgers."""
    shared_groups: set[frozenset[str]]
    """Sets of sites that hold rows of one group, where the plan protects groups."""
    measure_public: Callable[[Tensors], Mapping[str, Counts]] | None
    """The sum vector of a model on the public hold-out; None if the plan names none."""

    @property
    def train_rows(self) -> list[Example]:
        """All sites' training rows together."""
        return [example for site in self.sites.values() for example in site.data.train]

    @property
    def test_rows(self) -> list[Example]:
        """All sites' test rows together."""
        return [example for site in self.sites.values() for example in site.data.test]


def assemble(plan: Plan, state: Path, tell: Callable[[str], None] = lambda _: None) -> Federation:
    """Load the model once, deal the data to sites and make them.

    `state` is the folder of the sites' memories, and of their ledgers unless the plan names another.
    `tell` is given a short sentence before each step that takes time. Raises UsageError for what is
    unusable, RefusedError for ledgers that cannot pay for these data.
    """
    task = load_task(plan.task)
    strategy = load_strategy(plan.strategy)
    tell("Reading the data")
    table = draw_rows(read_table(plan.data), plan.data.rows, plan.seed)
    shares = deal(table, plan.data, plan.simulation, plan.seed)
    if plan.cohort.size > len(shares):
        raise PlanError(
            f"cohort.size is {plan.cohort.size}, but only {len(shares)} sites are simulated.",
            "Raise simulation.sites, or lower cohort.size.",
        )
    tell(f"Loading the model {plan.model.name}")
    base = load_base(plan.model, task)
    private = plan.privacy.private
    if private:
        base = replace(base, autocast=None)  # single gradients must be exact before they are clipped
    plan = plan.with_model_hash(base_hash(base))
    single = TorchTrainer(base, task, plan.lora, plan.training, plan.rounds.count)
    workers = min(simulated_workers(plan), len(shares))
    trainer = TrainerPool(single, workers, private_trainers(plan, task, base) if private else None)
    contract = Contract(plan, bytes.fromhex(plan.hash), task, strategy)
    tell(f"Preparing the data of {len(shares)} sites")
    identities = make_identities(list(shares), plan.secure_aggregation, state / "heads.jsonl")
    initial = initial_adapter(trainer.layout, plan.seed)
    ledgers = ledger_folder(plan, state)
    shared = shared_by(table, plan.data.group_column, shares) if plan.data.group_column else set()
    purses = make_purses(plan, ledgers, {name: table.select(rows) for name, rows in shares.items()})

    def data_of(name: str) -> SiteData:
        data = prepare(table.select(shares[name]), task, base.tokenizer, plan.data, plan.seed, name)
        return all_to_training(data) if private else data

    sites = {
        name: Site(
            name=name,
            contract=contract,
            trainer=trainer,
            first=initial.tensors,
            data=data_of(name),
            memory=SiteMemory(state / "sites" / name),
            new_session=identities.sites[name],
            purse=purses.get(name),
        )
        for name in shares
    }
    return Federation(
        plan=plan,
        task=task,
        base=base,
        model=single.model,
        trainer=trainer,
        contract=contract,
        sites=sites,
        sessions=identities.coordinator,
        initial=initial,
        ledgers=ledgers,
        shared_groups=shared,
        measure_public=_measure_public(plan, task, base, trainer),
    )


def _measure_public(
    plan: Plan, task: Task, base: Base, trainer: TrainerPool
) -> Callable[[Tensors], Mapping[str, Counts]] | None:
    if not plan.privacy.private or plan.privacy.metrics != "public":
        return None
    examples = public_examples(plan, task, base)
    return lambda tensors: trainer.evaluate(tensors, examples)

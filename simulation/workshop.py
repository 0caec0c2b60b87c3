"""What it takes to work on sites' rows: the base model, the task, the strategy, and whose rows are whose.

A simulation has one workshop, and on Ray every actor has one of its own. Equal plans make equal ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from peft import PeftModel

from sealora.client.contract import Contract
from sealora.client.local_work import LocalWork
from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import Adapter
from sealora.models.base import Base, base_hash, load_base
from sealora.models.lora import initial_adapter
from sealora.models.site_data import Rows
from sealora.models.task import Task, load_task
from sealora.plan.loader import Plan
from sealora.plan.privacy_forecast import plan_schedule
from sealora.simulation.attackers import Attacker, make_attackers
from sealora.simulation.privacy import private_trainers
from sealora.simulation.site_rows import DealtRows, SiteRows
from sealora.simulation.trainer_pool import TrainerPool
from sealora.strategies.registry import load_strategy


@dataclass(frozen=True)
class Workshop:
    """One base model, shared by all sites that work here."""

    plan: Plan
    """Bound to the base model's hash."""
    task: Task
    base: Base
    model: PeftModel
    """The base with the adapter's structure."""
    trainer: TrainerPool
    contract: Contract
    initial: Adapter
    dealt: DealtRows
    rows: SiteRows
    attackers: Mapping[str, Attacker]
    """Malicious sites, and what each does."""

    def worker(self, site: str) -> LocalWork:
        """Does the work of a site."""
        schedule = plan_schedule(self.plan) if self.plan.privacy.private else None
        data: Rows = self.rows.get(site)
        honest = LocalWork(site, self.contract, self.trainer, self.initial.tensors, data, schedule)
        attacker = self.attackers.get(site)
        if attacker is None:
            return honest
        return replace(
            honest,
            data=attacker.poisoned(data),
            trainer=attacker.training(self.trainer),
            encode=attacker.encode,
        )


def open_workshop(
    plan: Plan, dealt: DealtRows, workers: int, tell: Callable[[str], None] = lambda _: None
) -> Workshop:
    """Load the model once; up to `workers` sites can then work at the same time.

    `tell` is given a short sentence before each step that takes time. Raises ModelError.
    """
    task = load_task(plan.task)
    tell(f"Loading the model {plan.model.name}")
    base = load_base(plan.model, task)
    private = plan.privacy.private
    if private:
        base = replace(base, autocast=None)  # single gradients must be exact before they are clipped
    plan = plan.with_model_hash(base_hash(base))
    single = TorchTrainer(base, task, plan.lora, plan.training, plan.rounds.count)
    trainer = TrainerPool(single, workers, private_trainers(plan, task, base) if private else None)
    return Workshop(
        plan=plan,
        task=task,
        base=base,
        model=single.model,
        trainer=trainer,
        contract=Contract(plan, bytes.fromhex(plan.hash), task, load_strategy(plan.strategy)),
        initial=initial_adapter(trainer.layout, plan.seed),
        dealt=dealt,
        rows=SiteRows(dealt, task, base.tokenizer),
        attackers=make_attackers(plan, list(dealt.shares), base.tokenizer),
    )

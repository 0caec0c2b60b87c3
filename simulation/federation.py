"""Builds the parties of a simulated run: one base model, many sites, one coordinator's view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from sealora.client.contract import Contract
from sealora.client.memory import SiteMemory
from sealora.client.site import Site
from sealora.models.adapter import Adapter, Tensors
from sealora.models.base import Base
from sealora.models.task import Counts, Example, Task
from sealora.plan.loader import Plan
from sealora.plan.payload import plan_bounds, require_known
from sealora.plan.workers import simulated_workers
from sealora.protocol.errors import PlanError
from sealora.server.sessions import Sessions
from sealora.simulation.attackers import turned
from sealora.simulation.groups import shared_by
from sealora.simulation.identities import make_identities
from sealora.simulation.privacy import (
    ledger_folder,
    make_purses,
    public_examples,
)
from sealora.simulation.site_rows import DealtRows
from sealora.simulation.split_picture import SiteCounts
from sealora.simulation.trainer_pool import TrainerPool
from sealora.simulation.workshop import Workshop, open_workshop
from sealora.strategies.registry import load_strategy


@dataclass
class Federation:
    """Everything that a simulated run needs, made from a plan."""

    workshop: Workshop
    sites: dict[str, Site]
    sessions: Sessions
    ledgers: Path
    """Folder of the sites' privacy ledgers."""
    shared_groups: set[frozenset[str]]
    """Sets of sites that hold rows of one group, where the plan protects groups."""
    measure_public: Callable[[Tensors], Mapping[str, Counts]] | None
    """The sum vector of a model on the public hold-out; None if the plan names none."""

    @property
    def plan(self) -> Plan:
        """Bound to the base model's hash."""
        return self.workshop.plan

    @property
    def task(self) -> Task:
        """The plan's."""
        return self.workshop.task

    @property
    def base(self) -> Base:
        """The model that all simulated sites share."""
        return self.workshop.base

    @property
    def model(self) -> PeftModel:
        """The base with the adapter's structure."""
        return self.workshop.model

    @property
    def trainer(self) -> TrainerPool:
        """Trains and measures in this process."""
        return self.workshop.trainer

    @property
    def contract(self) -> Contract:
        """What all parties agree on."""
        return self.workshop.contract

    @property
    def initial(self) -> Adapter:
        """The adapter's first values."""
        return self.workshop.initial

    def label_counts(self) -> SiteCounts:
        """Usable rows by site and label or, where there are many sites, all that were dealt."""
        if not self.workshop.rows.at_once:
            return {name: {"rows": len(rows)} for name, rows in self.workshop.dealt.shares.items()}
        reports = {name: site.data.report for name, site in self.sites.items()}
        return {name: report.labels or {"rows": report.rows_kept} for name, report in reports.items()}

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
    load_strategy(plan.strategy)  # a plan that names none is refused before anything is read
    tell("Reading the data")
    dealt = DealtRows(plan)
    names = list(dealt.shares)
    if plan.cohort.size > len(names):
        raise PlanError(
            f"cohort.size is {plan.cohort.size}, but only {len(names)} sites are simulated.",
            "Raise simulation.sites, or lower cohort.size.",
        )
    require_known(plan, names)
    workshop = open_workshop(plan, dealt, min(simulated_workers(plan), len(names)), tell)
    plan = workshop.plan
    tell(f"Preparing the data of {len(names):,} sites")
    identities = make_identities(
        names,
        plan.secure_aggregation,
        state / "heads.jsonl",
        plan.simulation.ideal_above,
        plan_bounds(plan),
    )
    ledgers = ledger_folder(plan, state)
    purses = make_purses(plan, ledgers, dealt.tables()) if plan.privacy.private else {}
    sites = {
        name: Site(
            name=name,
            contract=workshop.contract,
            trainer=workshop.trainer,
            first=workshop.initial.tensors,
            data=workshop.rows.of(name),
            memory=SiteMemory(state / "sites" / name),
            new_session=identities.sites[name],
            purse=purses.get(name),
            warn=_untold,
        )
        for name in names
    }
    for name, attacker in workshop.attackers.items():
        sites[name] = turned(sites[name], attacker)
    column = plan.data.group_column
    return Federation(
        workshop=workshop,
        sites=sites,
        sessions=identities.coordinator,
        ledgers=ledgers,
        shared_groups=shared_by(dealt.table, column, dealt.shares) if column else set(),
        measure_public=_measure_public(workshop),
    )


def _untold(warning: str) -> None:
    """What a site would tell its operator is in the rounds' records, which a simulation shows."""


def _measure_public(workshop: Workshop) -> Callable[[Tensors], Mapping[str, Counts]] | None:
    plan = workshop.plan
    if not plan.privacy.private or plan.privacy.metrics != "public":
        return None
    examples = public_examples(plan, workshop.task, workshop.base)
    return lambda tensors: workshop.trainer.evaluate(tensors, examples)

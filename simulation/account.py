"""What a run has cost, and all runs on the same ledgers: from the charges, never from memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealora.plan.privacy_forecast import plan_schedule
from sealora.privacy.events import Event
from sealora.privacy.ledger import Charge, read_charges
from sealora.privacy.schedule import Schedule
from sealora.privacy.statement import unit_statement
from sealora.server.store import CheckpointStore
from sealora.simulation.federation import Federation
from sealora.simulation.privacy import ledger_path


@dataclass(frozen=True)
class Spending:
    """What stands in the sites' ledgers: the charges of one run, and all of them."""

    planned: Schedule
    this_run: Mapping[str, list[Event]]
    all_runs: Mapping[str, list[Event]]
    runs: int
    """The most runs on one ledger."""

    @classmethod
    def read(cls, planned: Schedule, ledgers: Path, sites: Sequence[str], run: str) -> "Spending":
        """The ledgers that are there; a site that never trained has none."""
        charges = {site: _charges(ledger_path(ledgers, site)) for site in sites}
        return cls(
            planned,
            {site: [c.event for c in found if c.key.run == run] for site, found in charges.items()},
            {site: [c.event for c in found] for site, found in charges.items()},
            max((len({c.key.run for c in found}) for found in charges.values()), default=0),
        )

    def epsilon(self, events: Iterable[Event]) -> float:
        """ε at the plan's δ."""
        return self.planned.accountant.epsilon(events, self.planned.budget.delta)

    def largest(self, spent: Mapping[str, list[Event]], shared: Iterable[frozenset[str]] = ()) -> float:
        """ε of the unit that lost most: at one site, or at all of a set of sites that share a group."""
        together = [frozenset([site]) for site in spent] + list(shared)
        return max(
            (self.epsilon([event for site in sites for event in spent[site]]) for sites in together),
            default=0.0,
        )


def run_id(state: Path) -> str:
    """The id of the run whose checkpoint is there, as it stands in ledgers; empty without one."""
    checkpoint = CheckpointStore(state).load()
    return checkpoint.run.hex() if checkpoint is not None else ""


def account(federation: Federation, run: str) -> Mapping[str, Any] | None:
    """What the run has cost by the sites' ledgers, lost attempts included; None without a guarantee.

    `run` is the run's id, as in the ledgers.
    """
    plan = federation.plan
    if not plan.privacy.private:
        return None
    planned = plan_schedule(plan)
    sites, shared = sorted(federation.sites), federation.shared_groups
    spending = Spending.read(planned, federation.ledgers, sites, run)
    whole = spending.largest(spending.all_runs, shared)
    return {
        "guarantee": plan.privacy.guarantee,
        "unit": planned.unit,
        "statement": unit_statement(
            whole,
            planned.budget.delta,
            planned.accountant.name,
            planned.unit,
            max(map(len, shared), default=1),
        ),
        "epsilon": spending.largest(spending.this_run, shared),
        "epsilon_all_runs": whole,
        "runs": spending.runs,
        "delta": planned.budget.delta,
        "budget": planned.budget.epsilon,
        "accountant": planned.accountant.name,
        "relation": planned.accountant.relation,
        "clipping_norm": plan.privacy.clipping_norm,
        "records_per_unit": plan.privacy.records_per_unit,
        "noise_multiplier": planned.noise_multiplier,
        "sampling_rate": planned.training.sampling_rate,
        "expected_batch": plan.privacy.expected_batch,
        "steps_per_round": planned.training.steps,
        "metrics": plan.privacy.metrics,
        "metrics_noise": None if planned.metrics is None else planned.metrics.noise_multiplier,
        "sites": {site: spending.epsilon(spending.this_run[site]) for site in sites},
        "sites_all_runs": {site: spending.epsilon(spending.all_runs[site]) for site in sites},
        "site_budgets": {
            name: site.purse.budget.epsilon for name, site in federation.sites.items() if site.purse
        },
    }


def _charges(path: Path) -> list[Charge]:
    return read_charges(path) if path.exists() else []

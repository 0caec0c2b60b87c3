"""How many rounds the sites of a plan pay for: by the plan's budget, by their own, and after earlier runs."""

from collections.abc import Iterator
from pathlib import Path

from sealora.plan.settings import PlanSettings
from sealora.privacy.calibration import affordable_rounds
from sealora.privacy.events import Budget, Composition, Event, atoms
from sealora.privacy.ledger import read_charges
from sealora.privacy.schedule import Schedule

TIMES = 10
"""Head-room is told up to so many times the plan's rounds; more would take long to find."""


def rounds_paid_for(plan: PlanSettings, planned: Schedule) -> int:
    """Rounds that every site pays for, each at its first attempt, up to ten times the plan's.

    Raises DataError or RefusedError for a ledger of the plan's simulation that cannot be read.
    """
    cases = {(planned.budget.epsilon, ()), *_sites(plan)}
    return min(
        affordable_rounds(
            planned.round_event,
            Budget(epsilon, planned.budget.delta),
            planned.accountant,
            list(spent),
            most=TIMES * planned.rounds,
        )
        for epsilon, spent in cases
    )


def _sites(plan: PlanSettings) -> Iterator[tuple[float, tuple[Event, ...]]]:
    """The budget of each site and what its ledger was charged with, as its purse counts them."""
    budgets, folder = plan.simulation.budgets, plan.simulation.ledgers
    usual = budgets.get("*", plan.privacy.epsilon)
    ledgers = {path.stem: path for path in Path(folder).expanduser().glob("*.jsonl")} if folder else {}
    names = set(plan.simulation.numbered) or {*budgets, *ledgers} - {"*"}
    if not names:
        yield usual, ()
    for name in names:
        charges = read_charges(ledgers[name]) if name in ledgers else []
        counts = atoms(charge.event for charge in charges)
        yield budgets.get(name, usual), tuple(Composition((atom,), n) for atom, n in counts.items())

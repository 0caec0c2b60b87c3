"""What all runs of a comparison cost together: they used the same rows, and all of them were looked at."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sealora.plan.privacy_forecast import plan_schedule
from sealora.plan.settings import PlanSettings
from sealora.privacy.events import Atom, Composition, Event, atoms
from sealora.privacy.ledger import read_charges


def composed_account(runs: Path, plan: PlanSettings) -> dict[str, Any] | None:
    """ε of every run below the folder, finished or not, at the plan's δ; None without a guarantee.

    A row is at another site in each run, so a run counts as the largest numbers of releases of any of its
    sites. Raises DataError or RefusedError for a ledger that cannot be read.
    """
    if not plan.privacy.private:
        return None
    planned = plan_schedule(plan)
    folders = sorted({path.parent for path in runs.glob("*/*/state/ledgers/*.jsonl")})
    events = [event for folder in folders for event in _most_of_a_site(sorted(folder.glob("*.jsonl")))]
    return {
        "epsilon": planned.accountant.epsilon(events, planned.budget.delta),
        "delta": planned.budget.delta,
        "unit": planned.unit,
        "accountant": planned.accountant.name,
        "runs": len(folders),
    }


def _most_of_a_site(ledgers: Sequence[Path]) -> list[Event]:
    most: Counter[Atom] = Counter()
    for path in ledgers:
        most |= Counter(atoms(charge.event for charge in read_charges(path)))
    return [Composition((atom,), count) for atom, count in most.items()]

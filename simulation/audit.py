"""What a run or a plan really leaks: attacks on it, compared with what is claimed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from sealora.plan.loader import Plan
from sealora.plan.privacy_forecast import plan_schedule
from sealora.privacy.calibration import affordable_rounds
from sealora.protocol.errors import UsageError
from sealora.simulation.account import Spending, run_id
from sealora.simulation.audit_canaries import audit_canaries
from sealora.simulation.audit_inversion import audit_inversion
from sealora.simulation.audit_membership import audit_membership
from sealora.simulation.audit_report import ATTACKS, Attack, AuditReport, Finding, Inapplicable
from sealora.simulation.privacy import ledger_folder
from sealora.simulation.run_folder import RunFolder

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Claim:
    """What is promised about a record: its ε, and the rounds of training that this pays for."""

    epsilon: float
    rounds: int


@dataclass(frozen=True)
class Audit:
    """The attacks on one plan, or on one finished run of it."""

    plan: Plan
    folder: RunFolder | None
    seed: int
    noise: bool = True
    """Whether the canaries' training has its noise: without it, a claim must be found broken."""

    @property
    def claim(self) -> Claim | None:
        """What a run has spent by its ledgers, or a plan would spend; None if nothing is promised.

        Raises UsageError if a run's ledgers are not those of its result.
        """
        if not self.plan.privacy.private:
            return None
        if self.folder is None:
            planned = plan_schedule(self.plan)
            rounds = affordable_rounds(
                planned.round_event, planned.budget, planned.accountant, most=planned.rounds
            )
            return Claim(planned.epsilon(rounds), rounds)
        return _spent(self.folder, self.plan)

    def canaries(self, tell: Tell) -> Sequence[Finding]:
        """See audit_canaries. Raises Inapplicable if no ε is claimed, or nothing was released for it."""
        claim = self.claim
        if claim is None:
            raise Inapplicable(
                "canaries test an ε, and none is claimed.", 'Audit a plan with guarantee = "record".'
            )
        if claim.rounds == 0:
            raise Inapplicable(
                "the budget pays for no round, so there is nothing to test.", "Raise privacy.epsilon."
            )
        tell("Canaries: training begins")
        planned = plan_schedule(self.plan)
        return [
            audit_canaries(
                self.plan.privacy, planned, claim.rounds, claim.epsilon, self.seed, tell, self.noise
            )
        ]

    def inversion(self, tell: Tell) -> Sequence[Finding]:
        """See audit_inversion."""
        return audit_inversion(self.seed, self.plan.secure_aggregation.enabled, tell)

    def membership(self, tell: Tell) -> Sequence[Finding]:
        """See audit_membership. Raises Inapplicable for a plan."""
        if self.folder is None:
            raise Inapplicable(
                "membership is attacked in an adapter, and a plan has none.", "Audit a run of it."
            )
        claim = self.claim
        epsilon = None if claim is None else claim.epsilon
        return [audit_membership(self.folder, epsilon, self.seed, tell)]


def audit(
    audited: Audit, name: str, only: Sequence[Attack] = (), console: Console | None = None
) -> AuditReport:
    """Make the attacks in `only`, or all. `name` is what the report calls the run or plan.

    Raises Inapplicable if an attack in `only` cannot be made here; of all, it is reported as skipped.
    """
    console = console or Console(quiet=True)
    findings: list[Finding] = []
    attacks: dict[Attack, Callable[[Tell], Sequence[Finding]]] = {
        "canaries": audited.canaries,
        "inversion": audited.inversion,
        "membership": audited.membership,
    }
    with console.status("Starting") as status:
        for attack in [known for known in ATTACKS if known in only or not only]:
            try:
                findings += attacks[attack](status.update)
            except Inapplicable as reason:
                if only:
                    raise
                findings.append(Finding(attack, SUBJECTS[attack], str(reason), "–", "skipped"))
    return AuditReport(name, audited.seed, tuple(findings))


SUBJECTS: dict[Attack, str] = {
    "canaries": "Which records a site trained on.",
    "inversion": "The texts behind updates.",
    "membership": "Which rows the final adapter was trained on.",
}


def _spent(folder: RunFolder, plan: Plan) -> Claim:
    """What the site that spent most was charged in this run, and for how many rounds of training."""
    result, planned = folder.result, plan_schedule(plan)
    ledgers = ledger_folder(plan, folder.state)
    spending = Spending.read(planned, ledgers, sorted(result["sites"]), run_id(folder.state))
    epsilon = spending.largest(spending.this_run)
    reported = max((result.get("privacy") or {}).get("sites", {}).values(), default=math.nan)
    if not math.isclose(epsilon, reported):
        raise UsageError(
            f"the ledgers in {ledgers} are not those that result.json reports on.", "Restore the run folder."
        )
    rounds = [events.count(planned.round_event) for events in spending.this_run.values()]
    return Claim(epsilon, max(rounds, default=0))

"""What a site allows, kept and enforced by the site, whatever the coordinator says.

A policy is a list of lines, each of which allows or refuses. All are asked before an operator approves
a plan, and again in every round, about the header that the coordinator sent, before the site pays,
measures or trains anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from sealora.client.site_config import columns, window
from sealora.client.site_settings import SiteSettings
from sealora.plan.cohort_sizes import cohort_sizes
from sealora.plan.contract import canonical, contract, sha256
from sealora.plan.settings import PlanSettings
from sealora.privacy.events import Budget
from sealora.protocol.admission import Floors
from sealora.protocol.errors import BudgetError, RefusedError
from sealora.protocol.messages import Header, Work

UNKNOWN = "decided in each round"
HIDES_NOTHING = "the plan hides nothing"
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """What is judged: a plan by itself, or a round of it where there is a header."""

    plan: PlanSettings
    plan_hash: str
    """Hex hash of the contract, the base model's hash included."""
    now: datetime
    """By the site's own clock and zone."""
    header: Header | None = None
    sites: int = 0
    """Sites that could take part; 0 where that is not known."""
    memory: int = 0
    """Bytes that the base model's weights take; 0 where that is not known."""
    epsilon_after: Callable[[float], float] = field(default=lambda delta: inf)
    """ε at a δ of everything that this data set has paid for, and of what is judged."""

    @property
    def approval(self) -> str:
        """The hash that an operator approves: of the plan without its model."""
        return plan_name(self.plan)

    @property
    def cohort(self) -> int:
        """Sites of a session, which is one group's where there are groups; 0 where that is not known."""
        if self.header is not None:
            return len(self.header.cohort)
        return min(cohort_sizes(self.plan, self.plan.cohort.size or self.sites))


def spendable(settings: SiteSettings, plan: PlanSettings) -> Budget:
    """What may ever be spent on the data set under a private plan: the site's limit, or else the plan's."""
    limits = settings.limits
    if limits.epsilon_for_ever:
        return Budget(limits.epsilon_for_ever, limits.delta)
    return Budget(plan.privacy.epsilon, plan.privacy.delta)


@dataclass(frozen=True)
class Verdict:
    """What one line says. `refusal` is empty if it allows, and may be sent to the coordinator."""

    line: str
    allows: str
    asks: str
    refusal: str = ""
    budget: bool = False
    """Whether a refusal means that a privacy budget is used up."""

    @property
    def allowed(self) -> bool:
        """Whether the line allows it."""
        return not self.refusal


@dataclass(frozen=True)
class Policy:
    """A site's settings, and how often its operator approved each plan (hex hash, without its model)."""

    settings: SiteSettings
    approved: Mapping[str, int] = field(default_factory=dict)

    def check(self, case: Case) -> tuple[Verdict, ...]:
        """What every line says, in the order of site.toml."""
        return tuple(line(self, case) for line in LINES)

    def require(self, case: Case) -> None:
        """Raises RefusedError, or BudgetError, with the first line that refuses; its text may be sent."""
        for verdict in self.check(case):
            if not verdict.allowed:
                kind = BudgetError if verdict.budget else RefusedError  # the first ends a run in good order
                raise kind(f"policy line {verdict.line}: {verdict.refusal}.")

    def floors(self, plan: PlanSettings) -> Floors:
        """The same floors and limits for the site's half of a secure session of that plan."""
        floors, limits = self.settings.floors, self.settings.limits
        return Floors(
            n_min=max(floors.minimum_contributors, 3),
            colluders=floors.colluders,
            attempts=limits.attempts,
            runs=self.runs(plan),
        )

    def runs(self, plan: PlanSettings) -> int:
        """The runs of a plan that its approvals are good for."""
        name = plan_name(plan)
        times = self.approved.get(name, 0) + (name in self.settings.allow.plans)
        return times * self.settings.limits.runs


def plan_name(plan: PlanSettings) -> str:
    """The hash of a plan before its base model's hash joins it, as `sealora plan show --hash` prints it."""
    return sha256(canonical(contract(plan)))


def bound_hash(plan: PlanSettings, model_hash: str) -> str:
    """The hash of a plan together with a base model, as headers carry it."""
    return sha256(canonical(contract(plan, model_hash)))


def plans(policy: Policy, case: Case) -> Verdict:
    """The operator approved this very plan."""
    known = case.approval in {*policy.approved, *policy.settings.allow.plans}
    refusal = "" if known else "this plan is not approved here"
    return Verdict("allow.plans", "approved ones", case.approval[:16], refusal)


def models(policy: Policy, case: Case) -> Verdict:
    """The contract is of a base model that is listed: its hash is part of the contract's."""
    allowed = policy.settings.allow.models
    known = any(bound_hash(case.plan, model) == case.plan_hash for model in allowed)
    refusal = "" if known else "this base model is not allowed here"
    return Verdict("allow.models", f"{len(allowed)} by hash", case.plan.model.name, refusal)


def tasks(policy: Policy, case: Case) -> Verdict:
    """The task is listed."""
    allowed, name = policy.settings.allow.tasks, case.plan.task.name
    refusal = "" if name in allowed else "this task is not allowed here"
    return Verdict("allow.tasks", ", ".join(allowed) or "none", name, refusal)


def used_columns(policy: Policy, case: Case) -> Verdict:
    """Only columns that are listed are read; a plan cannot name others, for the mapping is the site's."""
    allowed, used = policy.settings.allow.columns, columns(policy.settings, case.plan)
    refusal = "" if not allowed or set(used) <= set(allowed) else "a column is not allowed here"
    return Verdict("allow.columns", ", ".join(allowed) or "those of [data]", ", ".join(used), refusal)


def drawn_rows(policy: Policy, case: Case) -> Verdict:
    """A guarantee is about all rows: which ones a draw takes depends on how many others there are."""
    most = policy.settings.data.rows
    allows = f"up to {most:,} rows" if most else "all rows"
    refusal = (
        "a plan with a guarantee uses all rows, not a draw" if most and case.plan.privacy.private else ""
    )
    return Verdict("data.rows", allows, "all rows" if case.plan.privacy.private else "any rows", refusal)


def secure_aggregation(policy: Policy, case: Case) -> Verdict:
    """Single updates are hidden, and a round hides no less than the plan says."""
    needed, planned = policy.settings.floors.secure_aggregation, case.plan.secure_aggregation.enabled
    secure = planned and (case.header is None or case.header.secure)
    refusal = "this site takes part in secure sessions only" if (needed or planned) and not secure else ""
    return Verdict(
        "floors.secure_aggregation", "required" if needed else "optional", "on" if secure else "off", refusal
    )


def cohort(policy: Policy, case: Case) -> Verdict:
    """Enough sites take part."""
    return _at_least("floors.cohort", policy.settings.floors.cohort, case.cohort, case, "sites in a round")


def colluders(policy: Policy, case: Case) -> Verdict:
    """Enough colluders are withstood: as the site asks, and in a round as the plan says too."""
    planned = case.plan.secure_aggregation.colluders_of(case.cohort)
    floor, asked = policy.settings.floors.colluders, planned
    if case.header is not None:
        floor, asked = max(floor, planned), case.header.colluders
    return _of_secure("floors.colluders", floor, asked, case, "colluding sites withstood")


def minimum_contributors(policy: Policy, case: Case) -> Verdict:
    """No sum of too few sites is opened: as the site asks, and in a round as the plan says too."""
    planned = case.plan.secure_aggregation.minimum_of(case.cohort)
    floor, asked = policy.settings.floors.minimum_contributors, planned
    if case.header is not None:
        floor, asked = max(floor, planned), case.header.n_min
    return _of_secure("floors.minimum_contributors", floor, asked, case, "sites in a sum")


def rounds(policy: Policy, case: Case) -> Verdict:
    """The plan is short enough, and the round is one of the plan's (the last evaluates the result)."""
    most, asked = policy.settings.limits.rounds, case.plan.rounds.count
    refusal = "" if asked <= most else f"{asked} rounds are more than {most}"
    if case.header is not None:
        last = asked + (case.header.work == Work.EVALUATE)
        if case.header.round > last:
            refusal = f"the plan has {asked} rounds"
    return Verdict("limits.rounds", f"at most {most}", str(asked), refusal)


def runs(policy: Policy, case: Case) -> Verdict:
    """How many runs the approvals are good for: the secure half counts those that it contributed to."""
    secure = case.plan.secure_aggregation.enabled
    asks = f"{policy.runs(case.plan)} approved so far" if secure else HIDES_NOTHING
    return Verdict("limits.runs", f"{policy.settings.limits.runs} for each approval", asks)


def attempts(policy: Policy, case: Case) -> Verdict:
    """A round is not tried too often; the secure half counts the attempts that it entered."""
    most, asked = policy.settings.limits.attempts, case.plan.rounds.attempts
    if not case.plan.secure_aggregation.enabled:
        return Verdict("limits.attempts", f"at most {most}", HIDES_NOTHING)
    refusal = f"{asked} attempts of a round are more than {most}" if asked > most else ""
    return Verdict("limits.attempts", f"at most {most}", f"{asked} before a run pauses", refusal)


def hours(policy: Policy, case: Case) -> Verdict:
    """A round begins at a time that is allowed."""
    allowed = policy.settings.limits.hours
    within = not allowed or any(_within(case.now, text) for text in allowed)
    refusal = "not at this time of the day" if case.header is not None and not within else ""
    asks = UNKNOWN if case.header is None else f"{case.now:%H:%M}"
    return Verdict("limits.hours", ", ".join(allowed) or "any time", asks, refusal)


def epsilon_per_run(policy: Policy, case: Case) -> Verdict:
    """A run promises single records at least the privacy that the site asks for."""
    limits, privacy = policy.settings.limits, case.plan.privacy
    most, asks = limits.epsilon_per_run, _guarantee(case.plan)
    refusal = ""
    if most and not privacy.private:
        refusal = "this site asks for a guarantee for single records"
    elif most and (privacy.epsilon > most or privacy.delta > limits.delta):
        refusal = f"more than ε = {most:g} at δ = {limits.delta:g} in a run"
    return Verdict("limits.epsilon_per_run", _epsilon(most, limits.delta), asks, refusal)


def epsilon_for_ever(policy: Policy, case: Case) -> Verdict:
    """All runs on this data set together stay within what the purse may ever spend."""
    limits, line = policy.settings.limits, "limits.epsilon_for_ever"
    if not case.plan.privacy.private:
        refusal = "this site asks for a guarantee for single records" if limits.epsilon_for_ever else ""
        allows = _epsilon(limits.epsilon_for_ever, limits.delta)
        return Verdict(line, allows, _guarantee(case.plan), refusal)
    budget = spendable(policy.settings, case.plan)
    allows = _epsilon(budget.epsilon, budget.delta)
    if not limits.epsilon_for_ever:
        allows += ", as the plan"
    after = case.epsilon_after(budget.delta)
    # Written so that a NaN is refused. How much was spent stays here.
    refusal = "" if after <= budget.epsilon else "this data set's privacy budget does not pay for it"
    return Verdict(line, allows, f"ε = {after:.4g} with all runs before", refusal, budget=True)


def threads(policy: Policy, case: Case) -> Verdict:
    """Training uses no more threads than it may."""
    most, asked = policy.settings.resources.threads, case.plan.training.threads
    refusal = f"{asked} threads are more than {most}" if most and asked > most else ""
    return Verdict("resources.threads", f"at most {most}" if most else "any", str(asked), refusal)


def memory(policy: Policy, case: Case) -> Verdict:
    """The base model's weights alone fit. What training takes besides is limited while it runs."""
    most = policy.settings.resources.memory
    refusal = "the base model is too large" if most and case.memory > most * GIB else ""
    asks = f"{case.memory / GIB:.2f} GiB of weights" if case.memory else "limited while it runs"
    return Verdict("resources.memory", f"at most {most:g} GiB" if most else "any", asks, refusal)


LINES: tuple[Callable[[Policy, Case], Verdict], ...] = (
    plans,
    models,
    tasks,
    used_columns,
    drawn_rows,
    secure_aggregation,
    cohort,
    colluders,
    minimum_contributors,
    rounds,
    runs,
    attempts,
    hours,
    epsilon_per_run,
    epsilon_for_ever,
    threads,
    memory,
)


def _of_secure(line: str, floor: int, asked: int, case: Case, what: str) -> Verdict:
    """A floor of secure sessions. Where a plan is plain, `floors.secure_aggregation` alone decides."""
    if not case.plan.secure_aggregation.enabled:
        return Verdict(line, f"{floor} or more", HIDES_NOTHING)
    return _at_least(line, floor, asked, case, what)


def _at_least(line: str, floor: int, asked: int, case: Case, what: str) -> Verdict:
    """A floor. Before there is a header, and where the number of sites is not known, it is left open."""
    known = case.header is not None or case.cohort > 0
    refusal = f"{asked} {what} are fewer than {floor}" if known and asked < floor else ""
    return Verdict(line, f"{floor} or more", str(asked) if known else UNKNOWN, refusal)


def _within(now: datetime, text: str) -> bool:
    start, end = window(text)
    clock = now.time().replace(second=0, microsecond=0)
    return start <= clock < end if start < end else clock >= start or clock < end


def _epsilon(most: float, delta: float) -> str:
    return f"ε ≤ {most:g} at δ = {delta:g}" if most else "no guarantee asked for"


def _guarantee(plan: PlanSettings) -> str:
    privacy = plan.privacy
    return f"ε = {privacy.epsilon:g} at δ = {privacy.delta:g}" if privacy.private else "no guarantee"

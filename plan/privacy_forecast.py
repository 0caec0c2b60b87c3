"""What a privacy guarantee will cost: ε by round, rounds that the budget affords, noise against signal."""

import math
from dataclasses import dataclass

from sealora.plan.affordable import rounds_paid_for
from sealora.plan.settings import PlanSettings
from sealora.privacy.conversions import epsilon_at_once
from sealora.privacy.events import Relation
from sealora.privacy.schedule import Schedule, schedule
from sealora.protocol.errors import PlanError

VERDICTS = (
    (0.02, "noise will hardly show."),
    (0.3, "expect to lose some points of accuracy to noise."),
    (1.0, "expect to learn little: enlarge the batches, train fewer values, or raise the budget."),
    (math.inf, "it will not learn: enlarge the batches, train fewer values, or raise the budget."),
)
"""By noise over signal of a whole run, from the table of private accuracies in docs/benchmarks.md."""


@dataclass(frozen=True)
class PrivacyForecast:
    """The account of a site that takes part in every round, each at its first attempt."""

    unit: str
    """What is protected as one: "record" or "group"."""
    noise_multiplier: float
    steps_per_round: int
    epsilon_first_round: float
    epsilon_total: float
    """ε of all rounds of the plan, and of the final model's noised metrics."""
    delta: float
    budget: float
    affordable_rounds: int
    """Rounds that each site's budget pays for beyond its ledger, told up to ten times the plan's."""
    shortfall: str
    """What it means if those are fewer than the plan's; empty if they are not."""
    amplification: str
    """Which sampling makes the loss smaller, and which is not counted, in a sentence."""
    epsilon_replaced: float | None
    """ε of all rounds for a unit that is replaced by another; None if there is no bound."""
    epsilon_pair: float | None
    """ε of all rounds for somebody with two units; None if there is no bound."""
    noise_to_signal: float
    """Norm of the noise in one step, averaged over the sites, over the largest signal it can carry."""
    verdict: str
    """What that means, in a sentence."""
    metrics_noise: float | None
    """Noise multiplier of noised metrics; None if none are released."""


def plan_schedule(plan: PlanSettings) -> Schedule:
    """The releases that the plan's promise allows. Raises RefusedError if no noise meets the budget."""
    return schedule(plan.privacy, plan.training.epochs, plan.rounds.count)


def privacy_forecast(plan: PlanSettings, values: int, sites: int) -> PrivacyForecast | None:
    """The account for that many trained values and sites; None without a guarantee.

    Raises PlanError if a site pays for no round, DataError or RefusedError for a ledger that cannot be read.
    """
    if not plan.privacy.private:
        return None
    from sealora.privacy.accountants import ACCOUNTANTS  # loads scipy, which takes seconds

    planned = plan_schedule(plan)
    ratio = noise_to_signal(planned.noise_multiplier, values, plan.privacy.expected_batch, sites)
    affordable = rounds_paid_for(plan, planned)
    if not affordable:
        raise PlanError(
            f"the budgets pay for no round: the first costs ε = {planned.epsilon(1):.3g} at "
            f"δ = {planned.budget.delta:g}, more than some site has left.",
            "Raise privacy.noise_multiplier (0 has it calibrated) or the budgets, or use other data.",
        )

    def at_once(relation: Relation, size: int) -> float | None:
        made, events = ACCOUNTANTS[planned.accountant.name], planned.events(planned.rounds, 1)
        epsilon = epsilon_at_once(made, relation, events, size, planned.budget.delta)
        return epsilon if math.isfinite(epsilon) else None

    return PrivacyForecast(
        unit=planned.unit,
        noise_multiplier=planned.noise_multiplier,
        steps_per_round=planned.training.steps,
        epsilon_first_round=planned.epsilon(1),
        epsilon_total=planned.epsilon_total,
        delta=planned.budget.delta,
        budget=planned.budget.epsilon,
        affordable_rounds=affordable,
        shortfall=_shortfall(affordable, planned.rounds),
        amplification=_amplification(planned),
        epsilon_replaced=at_once("replace-one", 1),
        epsilon_pair=at_once("add-remove", 2),
        noise_to_signal=ratio,
        verdict=verdict(ratio, planned.training.steps * planned.rounds),
        metrics_noise=None if planned.metrics is None else planned.metrics.noise_multiplier,
    )


def noise_to_signal(noise_multiplier: float, values: int, expected_batch: float, sites: int) -> float:
    """z·√d / (B·√n): the noise z·C·√d against a batch B of gradients of norm C that all agree, n sites."""
    return noise_multiplier * math.sqrt(values / sites) / expected_batch


def verdict(ratio: float, steps: int) -> str:
    """What a noise of that ratio to the signal of one step leaves to learn in that many steps.

    Signals add up over steps, noises by their squares; how much of it a model stands was measured on reviews.
    """
    share = ratio / math.sqrt(steps)
    said = next(said for bound, said in VERDICTS if share < bound)
    return f"Over all steps that is {share:.2g}: {said}"


def _shortfall(affordable: int, rounds: int) -> str:
    if affordable >= rounds:
        return ""
    return (
        f"the sites' budgets pay for {affordable} of {rounds} rounds, so the run will end early. Plan fewer "
        "rounds, more noise, or larger budgets."
    )


def _amplification(planned: Schedule) -> str:
    rate = planned.training.sampling_rate
    draw = (
        f"counted for each site's secret draw of its {planned.unit}s (Poisson, rate {rate:g} in each step)"
        if rate < 1
        else f"none: every step takes all {planned.unit}s of a site"
    )
    return f"{draw}; none for cohorts, whose members the coordinator knows"

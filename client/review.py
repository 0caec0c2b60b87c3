"""What a plan would do with a site's data, in plain sentences, for whoever has to approve it."""

from collections.abc import Iterator

from sealora.client.site_config import columns
from sealora.client.site_settings import SiteSettings
from sealora.plan.cohort_sizes import cohort_sizes
from sealora.plan.settings import PlanSettings
from sealora.privacy.statement import UNITS
from sealora.strategies.registry import strategy_class

IN_CLEAR = "in clear: the coordinator sees this site's own."
"""The end of the sentence about a plan without masks."""


def explain(plan: PlanSettings, site: SiteSettings, members: int = 0, name: str = "") -> list[str]:
    """Sentences about one run of the plan at this site, in the order of what happens.

    `members` are the sites that could take part; 0 where that is not known yet. `name` is this site's.
    """
    return [*_reads(plan, site), *_trains(plan, name), *_sends(plan, members), *_promises(plan)]


def _reads(plan: PlanSettings, site: SiteSettings) -> Iterator[str]:
    used = " and ".join(f"'{column}'" for column in columns(site, plan))
    rows = f"up to {site.data.rows:,} rows" if site.data.rows else "all rows"
    yield f"It reads {rows} of {site.data.path}, from the columns {used}. Rows never leave this site."
    if not plan.privacy.private:
        share = f"{plan.data.test_fraction:.0%}"
        yield f"It sets {share} of the rows aside to measure the model on, and trains on the others."


def _trains(plan: PlanSettings, name: str) -> Iterator[str]:
    labels = ", ".join(plan.task.labels[:10]) + (", …" if len(plan.task.labels) > 10 else "")
    task = f"{plan.task.name} ({labels})" if labels else plan.task.name
    rank = plan.lora.ranks.get(name, plan.lora.rank)
    yield f"It trains an adapter of rank {rank} on {plan.model.name} for {task}."
    attempts = f"each tried up to {plan.rounds.attempts} times" if plan.rounds.attempts > 1 else "tried once"
    yield (
        f"It does so in {plan.rounds.count} rounds, {attempts}, with {plan.training.threads} CPU threads "
        f"and up to {plan.rounds.deadline:g} seconds a round."
    )


def _sends(plan: PlanSettings, members: int) -> Iterator[str]:
    what = "the change of the adapter"
    noised = plan.privacy.private and plan.privacy.metrics == "noised"
    if noised or not plan.privacy.private:
        what += " and sums over rows"
    if plan.secure_aggregation.enabled:
        yield f"In each round it sends {what} under masks. {_hidden(plan, plan.cohort.size or members)}"
    else:
        yield f"In each round it sends {what} {IN_CLEAR}"
    if disclosed := strategy_class(plan.strategy.name).card.discloses:
        yield disclosed
    if not plan.privacy.private:
        yield "The sums count rows, losses and the model's hits and misses on the rows set aside."
    if noised:
        yield "The sums, of the model's losses, hits and misses on the rows it trains on, have noise added."
    yield f"A change is scaled down to a norm of {plan.codec.clip:g}; all sites see the model that results."


def _hidden(plan: PlanSettings, sites: int) -> str:
    if not sites:
        return "The coordinator learns the sum over several sites; how many depends on the roster."
    settings, sizes = plan.secure_aggregation, cohort_sizes(plan, sites)
    whose = f" in each of {len(sizes)} fixed groups" if len(sizes) > 1 else ""
    least, most = min(sizes), max(sizes)
    return (
        f"The coordinator learns the sum over {settings.minimum_of(least)} to {most} sites{whose}, also if "
        f"{settings.colluders_of(least)} of them conspire with it."
    )


def _promises(plan: PlanSettings) -> Iterator[str]:
    privacy = plan.privacy
    if not privacy.private:
        yield "It promises nothing about single records: the model may remember some of them."
        return
    yield (
        f"It promises (ε = {privacy.epsilon:g}, δ = {privacy.delta:g})-differential privacy for each "
        f"{UNITS[privacy.unit][0]}; this site keeps the account itself and stops when it is spent."
    )

"""From a plan's promise to its releases: how much noise, what a round costs, what the run costs."""

from dataclasses import dataclass
from functools import lru_cache

from sealora.privacy.calibration import calibrate_noise
from sealora.privacy.events import (
    Accountant,
    Budget,
    Composition,
    Event,
    GaussianRelease,
    PoissonSampledGaussian,
)
from sealora.privacy.ledger import Unit
from sealora.privacy.settings import PrivacySettings

METRICS_SHARE = 0.25
"""Share of ε that noised metrics would cost on their own, unless the plan states their noise.

Losses of Gaussian releases add up in squares, so training still gets about fifteen sixteenths.
"""


@dataclass(frozen=True)
class Schedule:
    """What every site releases in a run; public constants only."""

    training: PoissonSampledGaussian
    """The steps of one round."""
    metrics: GaussianRelease | None
    """The noised metrics of one model: of each round's, and of the final one; None if there are none."""
    rounds: int
    budget: Budget
    accountant: Accountant
    unit: Unit = "record"

    @property
    def round_event(self) -> Event:
        """Everything that a site releases in one attempt of a round."""
        return self.training if self.metrics is None else Composition((self.training, self.metrics))

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise in a step over the clipping norm."""
        return self.training.noise_multiplier

    def events(self, rounds: int, evaluations: int = 0) -> list[Event]:
        """The releases of that many rounds, and of the metrics of that many final models."""
        events: list[Event] = [Composition((self.round_event,), rounds)] if rounds else []
        if evaluations and self.metrics is not None:
            events.append(Composition((self.metrics,), evaluations))
        return events

    def epsilon(self, rounds: int, evaluations: int = 0) -> float:
        """ε of those at the budget's δ."""
        return self.accountant.epsilon(self.events(rounds, evaluations), self.budget.delta)

    @property
    def epsilon_total(self) -> float:
        """ε of the whole run, each attempt the first."""
        return self.epsilon(self.rounds, 1)


@lru_cache(maxsize=64)
def schedule(settings: PrivacySettings, epochs: int, rounds: int) -> Schedule:
    """The releases of a run of that many rounds, its noise calibrated unless the plan states it.

    The calibration pays for each round and for the final evaluation once: a repeated attempt is charged
    again and costs the run its end. Raises RefusedError if no noise meets the budget.
    """
    from sealora.privacy.accountants import ACCOUNTANTS  # loads scipy, which takes seconds

    budget = Budget(settings.epsilon, settings.delta)
    accountant = ACCOUNTANTS[settings.accountant]("add-remove")
    steps = settings.steps_of(epochs)
    metrics = _metrics(settings, rounds, accountant) if settings.metrics == "noised" else None
    beside = [] if metrics is None else [Composition((metrics,), rounds + 1)]
    noise = settings.noise_multiplier or calibrate_noise(
        lambda multiplier: PoissonSampledGaussian(multiplier, settings.sampling_rate, steps * rounds),
        budget,
        accountant,
        beside,
    )
    training = PoissonSampledGaussian(noise, settings.sampling_rate, steps)
    return Schedule(training, metrics, rounds, budget, accountant, settings.unit)


def _metrics(settings: PrivacySettings, rounds: int, accountant: Accountant) -> GaussianRelease:
    share = Budget(METRICS_SHARE * settings.epsilon, settings.delta)
    noise = settings.metrics_noise or calibrate_noise(
        lambda multiplier: Composition((GaussianRelease(multiplier),), rounds + 1), share, accountant
    )
    return GaussianRelease(noise)

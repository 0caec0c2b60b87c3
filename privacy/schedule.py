"""From a plan's promise to its releases: how much noise, what a round costs, what the run costs."""

from dataclasses import dataclass
from functools import lru_cache

from sealora.privacy.accountants import ACCOUNTANTS
from sealora.privacy.calibration import calibrate_noise
from sealora.privacy.events import Accountant, Budget, Composition, PoissonSampledGaussian
from sealora.privacy.settings import PrivacySettings


@dataclass(frozen=True)
class Schedule:
    """What every site releases in a run; public constants only."""

    round_event: PoissonSampledGaussian
    """The release of one round."""
    rounds: int
    budget: Budget
    accountant: Accountant

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the clipping norm."""
        return self.round_event.noise_multiplier

    def epsilon(self, rounds: int) -> float:
        """ε at the budget's δ of that many rounds."""
        if rounds == 0:
            return 0.0
        return self.accountant.epsilon([Composition((self.round_event,), rounds)], self.budget.delta)


@lru_cache(maxsize=64)
def schedule(settings: PrivacySettings, epochs: int, rounds: int) -> Schedule:
    """The releases of a run of that many rounds, its noise calibrated unless the plan states it.

    The calibration pays for each round once: a repeated attempt is charged again and costs the run its
    last round. Raises RefusedError if no noise meets the budget.
    """
    budget = Budget(settings.epsilon, settings.delta)
    accountant = ACCOUNTANTS[settings.accountant]("add-remove")
    steps = settings.steps_of(epochs)
    noise = settings.noise_multiplier or calibrate_noise(
        lambda multiplier: PoissonSampledGaussian(multiplier, settings.sampling_rate, steps * rounds),
        budget,
        accountant,
    )
    return Schedule(PoissonSampledGaussian(noise, settings.sampling_rate, steps), rounds, budget, accountant)

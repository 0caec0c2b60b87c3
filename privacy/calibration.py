"""How much noise meets a budget, and how many rounds a budget affords; both err on the safe side."""

import math
from collections.abc import Callable, Sequence

from sealora.privacy.events import MAX_COUNT, Accountant, Budget, Composition, Event
from sealora.protocol.errors import RefusedError

SMALLEST_NOISE = 2**-6
LARGEST_NOISE = 2**16
TOLERANCE = 1e-3
"""Relative: the noise returned is at most this much above the least that meets the budget."""


def calibrate_noise(
    schedule: Callable[[float], Event], budget: Budget, accountant: Accountant, spent: Sequence[Event] = ()
) -> float:
    """Least noise multiplier whose schedule fits the budget, after what is already `spent`.

    Parameters: `schedule` maps a noise multiplier to the events of the whole run.
    Returns: a noise multiplier that meets the budget, to a relative TOLERANCE.
    Raises: RefusedError if no noise does.
    """

    def excess(log_noise: float) -> float:
        epsilon = accountant.epsilon([*spent, schedule(math.exp(log_noise))], budget.delta)
        return math.log(max(epsilon, 1e-9) / budget.epsilon)

    low, high = math.log(SMALLEST_NOISE), math.log(LARGEST_NOISE)
    low_excess, high_excess = excess(low), excess(high)
    if low_excess <= 0:
        return SMALLEST_NOISE
    if high_excess > 0:
        raise RefusedError(
            f"no noise multiplier up to {LARGEST_NOISE} keeps within ε = {budget.epsilon:g}.",
            "Raise the budget, plan fewer rounds, or use other data.",
        )
    while high - low > TOLERANCE:
        middle = _between(low, high, low_excess, high_excess)
        found = excess(middle)
        if found > 0:
            low, low_excess = middle, found
        else:
            high, high_excess = middle, found
    return math.exp(high)


def _between(low: float, high: float, low_excess: float, high_excess: float) -> float:
    """The next point to try: the middle while the bracket is wide, then near where a line crosses zero.

    ε is nearly a power of the noise, so the line is good; the step past the crossing closes the bracket
    from the side that the line would leave open.
    """
    if high - low > 0.5 or not math.isfinite(low_excess):
        return (low + high) / 2
    crossing = low + (high - low) * low_excess / (low_excess - high_excess)
    margin = TOLERANCE / 3
    nudged = crossing + margin if crossing - low > high - crossing else crossing - margin
    return min(max(nudged, low + margin), high - margin)


def affordable_rounds(
    round_event: Event,
    budget: Budget,
    accountant: Accountant,
    spent: Sequence[Event] = (),
    most: int = MAX_COUNT,
) -> int:
    """Most rounds, up to `most`, that fit the budget after what is already `spent`; 0 if none does."""

    def fits(rounds: int) -> bool:
        planned = [*spent, Composition((round_event,), rounds)] if rounds else spent
        return accountant.epsilon(planned, budget.delta) <= budget.epsilon

    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low

"""Lower bounds on ε from attacks: what guesses, scores and error rates prove about a mechanism.

All are one-sided: they can show that a claim is false, never that it is true.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

CONFIDENCE = 0.95
LARGEST_EPSILON = 32.0
"""No number of guesses that fits into memory proves more."""
HALVINGS = 8
"""Shares of the canaries to guess at: all, a half, … down to 1/128."""


def guessing_chance(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """The largest chance that an (ε, δ)-private mechanism leaves to `correct` or more right guesses.

    One run holds each of `canaries` records with probability ½, independently; an attacker who sees its
    output guesses at `guesses` of them and abstains from the others. Neighbours differ by one record
    added or removed. Steinke, Nasr & Jagielski 2023 (arXiv 2305.08846), theorem 5.2 and appendix D.
    """
    weights = _binomial(guesses, 1 / (1 + math.exp(-epsilon)))
    # P[v > W ≥ v − i] / i for each i: how far a failure of probability δ can lift the count.
    lift = np.cumsum(weights[:correct][::-1]) / np.arange(1, correct + 1)
    chance = weights[correct:].sum() + 2 * canaries * delta * lift.max(initial=0.0)
    return min(1.0, float(chance))


def _binomial(count: int, chance: float) -> NDArray[np.float64]:
    """P[W = k] for k = 0 … count; scipy's own takes a hundred times as long in the far tails."""
    k = np.arange(count + 1)
    logarithms = _choices(count) + k * math.log(chance) + (count - k) * math.log1p(-chance)
    # What is below e^-700 counts as that: exp of less is slow, and adds nothing.
    weights: NDArray[np.float64] = np.exp(np.maximum(logarithms, -700.0))
    return weights


@lru_cache(maxsize=8)
def _choices(count: int) -> NDArray[np.float64]:
    """ln C(count, k) for k = 0 … count."""
    k = np.arange(count + 1)
    found: NDArray[np.float64] = (
        special.gammaln(count + 1) - special.gammaln(k + 1) - special.gammaln(count - k + 1)
    )
    return found


def guessing_bound(
    canaries: int, guesses: int, correct: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """ε at δ that a mechanism has at least, with this confidence, if so many guesses were right.

    The number of guesses must be chosen without looking at which of them are right. Never above
    ln(guesses), nor much above ln((1 − confidence) / 2δ), however good the attack is.
    """

    def surprising(epsilon: float) -> bool:
        return guessing_chance(canaries, guesses, correct, epsilon, delta) < 1 - confidence

    if not surprising(0.0):
        return 0.0
    low, high = 0.0, LARGEST_EPSILON
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if surprising(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class Rule:
    """How an attacker guesses: at a share of the canaries, those whose scores are farthest from a middle."""

    share: float
    middle: float

    def guess(
        self, scores: NDArray[np.float64], included: NDArray[np.bool_], delta: float
    ) -> tuple[int, int, float]:
        """(guesses, right ones, what they prove); whoever scores above the middle is said to be in."""
        guesses = max(1, round(self.share * scores.size))
        chosen = np.argsort(-np.abs(scores - self.middle), kind="stable")[:guesses]
        correct = int((included[chosen] == (scores[chosen] > self.middle)).sum())
        return guesses, correct, guessing_bound(scores.size, guesses, correct, delta)


def best_rule(
    scores: NDArray[np.float64], included: NDArray[np.bool_], middles: Sequence[float], delta: float
) -> Rule:
    """The rule that proves most on these canaries. On others it is chosen blindly, as it has to be."""
    rules = [Rule(2.0**-halvings, middle) for halvings in range(HALVINGS) for middle in middles]
    return max(rules, key=lambda rule: rule.guess(scores, included, delta)[2])


def largest_deviation(values: NDArray[np.float64], confidence: float) -> float:
    """The largest standard deviation of N(0, σ²) that the values agree with (chi-square, one-sided)."""
    return math.sqrt(float(np.square(values).sum()) / float(stats.chi2(values.size).ppf(1 - confidence)))


def least_mean(values: NDArray[np.float64], confidence: float) -> float:
    """The least mean that the values agree with, one-sided; for hundreds of values (central limit)."""
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return float(values.mean()) - float(stats.norm.ppf(confidence)) * error


def rates_bound(
    found: int, members: int, accused: int, strangers: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """ε at δ that a mechanism has at least if a test finds `found` members and accuses `accused` strangers.

    ln((TPR − δ) / FPR) with both rates at the safe ends of their Clopper–Pearson intervals (Jagielski,
    Ullman & Oprea 2020, arXiv 2006.07709, section 4).
    """
    tail = (1 - confidence) / 2
    least = float(stats.beta.ppf(tail, found, members - found + 1)) if found else 0.0
    most = float(stats.beta.ppf(1 - tail, accused + 1, strangers - accused)) if accused < strangers else 1.0
    return max(0.0, math.log((least - delta) / most)) if least > delta else 0.0

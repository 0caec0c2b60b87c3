"""Gaussian differential privacy in closed form: what accountants are compared with."""

import math

LARGEST_EPSILON = 700.0
"""Largest ε of the closed forms: exp overflows above it."""


def gdp_mu(noise_multiplier: float, releases: int = 1) -> float:
    """μ of `releases` Gaussian releases without sampling: √T/z, exact (Dong, Roth & Su 2022, cor. 3.3)."""
    return math.sqrt(releases) / noise_multiplier


def gdp_delta(mu: float, epsilon: float) -> float:
    """Exact δ of μ-GDP at ε: Φ(−ε/μ + μ/2) − e^ε·Φ(−ε/μ − μ/2) (Balle & Wang 2018, theorem 8)."""
    if epsilon > LARGEST_EPSILON:
        return _normal_cdf(mu / 2 - epsilon / mu)
    return max(
        0.0, _normal_cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * _normal_cdf(-mu / 2 - epsilon / mu)
    )


def gdp_epsilon(mu: float, delta: float) -> float:
    """Smallest ε of μ-GDP at δ, from above to 1e-12; infinity beyond 700."""
    if gdp_delta(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, LARGEST_EPSILON
    if gdp_delta(mu, high) > delta:
        return math.inf
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if gdp_delta(mu, middle) > delta else (low, middle)
    return high


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2

"""Whole algorithms on quadratics: sites with different curvature and targets pull FedAvg off the optimum."""

import numpy as np
import pytest
from harness import Rounds
from references import NAMES, STEP_SIZE, STEPS

from sealora.simulation.toy import tensors_of
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings

SITES = ("a", "b", "c")
TARGETS = {site: tensors_of(site) for site in SITES}
CURVATURES = {site: {name: 1.05 + tensors_of(f"curvature {site}")[name] for name in NAMES} for site in SITES}
"""Between 0.05 and 2.05, value by value."""


def optimum(name):
    """The minimum of Σ_k ½·h_k·(w − t_k)²."""
    total = sum(CURVATURES[site][name].astype(np.float64) for site in SITES)
    return sum(CURVATURES[site][name].astype(np.float64) * TARGETS[site][name] for site in SITES) / total


def descent(site, steps=STEPS):
    """A site's training: gradient steps on its own quadratic, with the strategy's term."""

    def train(start):
        now = {name: np.array(start.tensors[name]) for name in NAMES}
        for _ in range(steps):
            term = start.gradient_term(now) if start.gradient_term else {}
            for name in NAMES:
                gradient = CURVATURES[site][name] * (now[name] - TARGETS[site][name])
                now[name] = now[name] - np.float32(STEP_SIZE) * (gradient + term.get(name, np.float32(0)))
        return now

    return train


def after(rounds, name, cohorts=(SITES,), steps=STEPS, **options):
    strategy = load_strategy(StrategySettings(name=name, options=options))
    run = Rounds(strategy, dict.fromkeys(SITES, 1.0), len(SITES))
    for number in range(rounds):
        run.round({site: descent(site, steps) for site in cohorts[number % len(cohorts)]})
    return run.tensors


def error(tensors):
    return max(float(np.abs(tensors[name] - optimum(name)).max()) for name in NAMES)


def test_fedavg_ends_beside_the_optimum():
    assert error(after(200, "fedavg")) > 0.05
    assert error(after(300, "fedavg")) == pytest.approx(error(after(200, "fedavg")), rel=0.05)


@pytest.mark.parametrize(
    ("name", "rounds", "options"),
    [("scaffold", 300, {}), ("feddyn", 300, {"alpha": 0.5})],
)
@pytest.mark.parametrize(
    "cohorts", [(SITES,), (("a", "b"), ("b", "c"), ("a", "c"))], ids=["all", "two of three"]
)
def test_corrected_sites_find_the_optimum(name, rounds, options, cohorts):
    assert error(after(rounds, name, cohorts, **options)) < 2e-3


def test_a_proximal_site_stops_between_its_target_and_the_model():
    """After many steps: the minimum of ½·h·(w − t)² + μ/2·(w − w₀)², averaged over the sites."""
    mu = 0.7
    tensors, start = after(1, "fedprox", steps=400, mu=mu), after(0, "fedprox", mu=mu)
    for name in NAMES:
        ends = [
            (CURVATURES[site][name] * TARGETS[site][name] + mu * start[name]) / (CURVATURES[site][name] + mu)
            for site in SITES
        ]
        np.testing.assert_allclose(tensors[name], np.mean(ends, axis=0), atol=1e-5)

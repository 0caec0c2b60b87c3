"""One table for all registered strategies: what any way of combining updates must do.

A new strategy is a row of `SLOW` (its coordinator's step, written the obvious way) and whatever it
exempts itself from.
"""

from importlib.metadata import entry_points

import numpy as np
import pytest

from sealora.models.adapter import Adapter
from sealora.protocol.errors import PlanError
from sealora.simulation.toy import LAYOUT, tensors_of
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate

START = Adapter(LAYOUT, tensors_of("start"))
SITES = ("a", "b", "c")
WEIGHTS = {"a": 0.1, "b": 0.4, "c": 1.0}


def slow_fedavg(start, trained, weights, settings):
    """McMahan et al. 2017, Algorithm 1, value by value."""
    total = sum(weights.values())
    result = {}
    for spec in LAYOUT.specs:
        result[spec.name] = np.empty(spec.shape)
        for at in np.ndindex(spec.shape):
            mean = sum(weights[site] * float(trained[site][spec.name][at]) for site in trained) / total
            before = float(start[spec.name][at])
            result[spec.name][at] = before + settings.server_learning_rate * (mean - before)
    return result


SLOW = {"fedavg": slow_fedavg}
"""The model after one round: (start, trained by site, weights by site, settings) → tensors."""


@pytest.fixture(params=sorted(entry.name for entry in entry_points(group="sealora.strategies")))
def name(request):
    return request.param


def one_round(strategy, trained, weights):
    """The model after a round in which each site ended with the given tensors; exact arithmetic."""
    state = strategy.init(START)
    broadcast = strategy.open(state, LAYOUT, 1)
    uploads = {site: strategy.upload(broadcast, tensors, {})[0] for site, tensors in trained.items()}
    sums = {}
    for part in strategy.parts(LAYOUT):
        vectors = [
            uploads[site][part.name].astype(np.float64) * (weights[site] if part.weighted else 1.0)
            for site in trained
        ]
        assert all(vector.shape == (part.length,) for vector in vectors)
        sums[part.name] = np.sum(vectors, axis=0)
    aggregate = Aggregate(sums, sum(weights[site] for site in trained), len(trained))
    return strategy.model(strategy.step(state, LAYOUT, aggregate), LAYOUT)


def trained_sites(*sites):
    """What each site ends with: its own tensors, whatever it began with."""
    return {site: tensors_of(site) for site in sites}


def assert_close(model, expected):
    for spec in LAYOUT.specs:
        np.testing.assert_allclose(model.tensors[spec.name], expected[spec.name], atol=2e-6)
        assert model.tensors[spec.name].dtype == np.float32


def test_the_table_is_complete(name):
    assert name in SLOW


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_a_round_is_the_reference(name, rate):
    settings = StrategySettings(name=name, server_learning_rate=rate)
    trained = trained_sites(*SITES)
    model = one_round(load_strategy(settings), trained, WEIGHTS)
    assert_close(model, SLOW[name](START.tensors, trained, WEIGHTS, settings))


def test_equal_sites_agree_on_what_they_have(name):
    trained = dict.fromkeys(SITES, tensors_of("same"))
    model = one_round(load_strategy(StrategySettings(name=name)), trained, WEIGHTS)
    assert_close(model, tensors_of("same"))


@pytest.mark.parametrize("weight", [1e-3, 0.3, 1.0])
def test_one_site_gets_its_own_model(name, weight):
    model = one_round(load_strategy(StrategySettings(name=name)), trained_sites("a"), {"a": weight})
    assert_close(model, tensors_of("a"))


def test_the_order_of_sites_does_not_matter(name):
    strategy = load_strategy(StrategySettings(name=name))
    first = one_round(strategy, trained_sites("a", "b", "c"), WEIGHTS)
    assert_close(one_round(strategy, trained_sites("c", "a", "b"), WEIGHTS), first.tensors)


def test_only_the_ratio_of_weights_matters(name):
    strategy = load_strategy(StrategySettings(name=name))
    trained = trained_sites(*SITES)
    halved = {site: weight / 2 for site, weight in WEIGHTS.items()}
    assert_close(one_round(strategy, trained, halved), one_round(strategy, trained, WEIGHTS).tensors)


def test_a_heavy_site_pulls_harder(name):
    strategy = load_strategy(StrategySettings(name=name))
    trained = trained_sites("a", "b")

    def distance(weights):
        model = one_round(strategy, trained, weights)
        return sum(float(np.abs(model.tensors[n] - trained["a"][n]).sum()) for n in trained["a"])

    assert distance({"a": 1.0, "b": 0.1}) < distance({"a": 1.0, "b": 1.0}) < distance({"a": 0.1, "b": 1.0})


def test_without_change_the_model_stays(name):
    strategy = load_strategy(StrategySettings(name=name))
    state = strategy.init(START)
    broadcast = strategy.open(state, LAYOUT, 1)
    starts = {site: strategy.local(broadcast, {}, LAYOUT.rank).tensors for site in SITES}
    assert_close(one_round(strategy, starts, WEIGHTS), START.tensors)
    assert set(broadcast.trains) <= {spec.name for spec in LAYOUT.specs}
    for tensors in starts.values():
        LAYOUT.check(tensors)


def test_a_strategy_changes_nothing_that_it_is_given(name):
    strategy = load_strategy(StrategySettings(name=name))
    state = strategy.init(START)
    before = {key: tensor.copy() for key, tensor in state.items()}
    one_round(strategy, trained_sites(*SITES), WEIGHTS)
    for key, tensor in before.items():
        np.testing.assert_array_equal(state[key], tensor)


def test_what_it_needs_to_see_is_declared(name):
    assert load_strategy(StrategySettings(name=name)).sees in ("sum", "groups", "each")


def test_an_unknown_name_is_one_line():
    with pytest.raises(PlanError, match=r"there is no strategy named 'nope'\. Known strategies: .*fedavg"):
        load_strategy(StrategySettings(name="nope"))

"""Two poisoned sites of fifteen against a classifier: what the mean and what groups make of them.

A logistic regression stands for the model, as it trains in a moment; all else is what any run has.
"""

import numpy as np
import pytest

from sealora.client.memory import SiteMemory
from sealora.client.site import Contract, Site
from sealora.models.adapter import Adapter, AdapterLayout, TensorSpec
from sealora.models.site_data import SiteData
from sealora.models.task import Example, SumSpec
from sealora.plan.payload import plan_bounds
from sealora.plan.settings import RoundsSettings, SimulationSettings
from sealora.protocol.groups import fixed_groups
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.loop import Coordinator
from sealora.server.store import CheckpointStore
from sealora.simulation.attackers import make_attackers, turned
from sealora.simulation.fleet import InProcessFleet
from sealora.simulation.identities import make_identities
from sealora.simulation.toy import toy_plan
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Trained

FEATURES, ROWS = 10, 80
LAYOUT = AdapterLayout((TensorSpec("head.bias", (1,)), TensorSpec("head.weight", (FEATURES,))), rank=0)
SITES = [f"site-{number:02d}" for number in range(1, 16)]
GROUPS = fixed_groups(0, SITES, 5)


class Accuracy:
    headline = "accuracy"

    def sums(self):
        return (SumSpec("right", 1, 2**20), SumSpec("rows", 1, 2**20))

    def metrics(self, sums):
        return {"accuracy": float(sums["right"][0] / sums["rows"][0])}

    def tables(self, sums):
        return {}


class Logistic:
    """Gradient descent on the logistic loss; a row's tokens are its features in hundredths."""

    layout = LAYOUT

    def train(self, start, trains, examples, round_number, seed):
        x, y = _table(examples)
        weight, bias = start.tensors["head.weight"].copy(), start.tensors["head.bias"].copy()
        for _ in range(20):
            error = 1 / (1 + np.exp(-(x @ weight + bias))) - y
            weight -= np.float32(0.2) * (x.T @ error / len(y))
            bias -= np.float32(0.2) * error.mean()
        tensors = {"head.weight": weight.astype(np.float32), "head.bias": bias.astype(np.float32)}
        return Trained(tensors, 0.0, len(y), 20, 0.2)

    def evaluate(self, tensors, examples):
        x, y = _table(examples)
        right = ((x @ tensors["head.weight"] + tensors["head.bias"] > 0) == (y > 0)).sum()
        return {"right": np.array([right]), "rows": np.array([len(y)])}


def _table(examples):
    x = np.array([row.tokens for row in examples], np.float32) / 100
    return x, np.array([row.target for row in examples], np.float32)


def rows_of(site):
    """Features around a common separating plane, with a site's own shift and some noise."""
    draw = np.random.default_rng([7, site])
    truth = np.random.default_rng(0).normal(size=FEATURES)
    x = np.rint(100 * (draw.normal(size=(ROWS, FEATURES)) + 0.2 * draw.normal(size=FEATURES)))
    y = x @ truth / 100 + 0.5 * draw.normal(size=ROWS) > 0
    return [Example(tuple(map(int, row)), int(label)) for row, label in zip(x, y, strict=True)]


def accuracy(folder, name="fedavg", options=None, secure=True, attackers=()):
    plan = toy_plan(
        strategy=StrategySettings(name=name, options=options or {}),
        rounds=RoundsSettings(count=3),
        secure_aggregation=SecureAggregationSettings(enabled=secure, colluders=0),
        simulation=SimulationSettings(sites=15, attackers=dict(attackers), attack_scale=20.0),
    )
    contract = Contract(plan, bytes(32), Accuracy(), load_strategy(plan.strategy))
    first = {"head.weight": np.zeros(FEATURES, np.float32), "head.bias": np.zeros(1, np.float32)}
    identities = make_identities(SITES, plan.secure_aggregation, bounds=plan_bounds(plan))
    made = make_attackers(plan, SITES, None)
    sites = {}
    for number, site in enumerate(SITES):
        rows, memory = rows_of(number), SiteMemory(folder / site)
        data = SiteData(rows[:60], rows[60:], None)
        honest = Site(site, contract, Logistic(), first, data, memory, identities.sites[site])
        sites[site] = turned(honest, made[site]) if site in made else honest
    _, evaluated = Coordinator(
        plan=plan,
        plan_hash=contract.plan_hash,
        task=contract.task,
        strategy=contract.strategy,
        initial=Adapter(LAYOUT, first),
        fleet=InProcessFleet({name: site.handle for name, site in sites.items()}),
        store=CheckpointStore(folder / "state"),
        sessions=identities.coordinator,
    ).run()
    return evaluated.metrics["accuracy"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    found = accuracy(tmp_path_factory.mktemp("clean"))
    assert found >= 0.85
    return found


FLIPS = {GROUPS[0][0]: "sign_flip", GROUPS[2][1]: "sign_flip"}
"""In different groups, which is the worst that two attackers can do."""
MEDIAN = {"groups": 5, "attackers": 2}


def test_the_mean_is_broken(tmp_path, clean):
    assert accuracy(tmp_path, attackers=FLIPS) < 0.5


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "geometric_median"])
def test_groups_under_secure_aggregation_keep_the_accuracy(tmp_path, clean, name):
    assert accuracy(tmp_path, name, MEDIAN, attackers=FLIPS) >= 0.95 * clean


@pytest.mark.parametrize("kind", ["label_flip", "scaled_update", "nan", "free_rider", "huge_weight"])
def test_so_they_do_against_other_attacks(tmp_path, clean, kind):
    assert accuracy(tmp_path, "median", MEDIAN, attackers=dict.fromkeys(FLIPS, kind)) >= 0.95 * clean


def test_three_attackers_are_more_than_five_groups_withstand(tmp_path, clean):
    three = {**FLIPS, GROUPS[4][0]: "sign_flip"}
    assert accuracy(tmp_path, "median", MEDIAN, attackers=three) < 0.95 * clean

"""Products through sketches: exact where they are wide enough, within a bound after rounding."""

from dataclasses import replace

import numpy as np
import pytest

from sealora.models.adapter import Adapter, AdapterLayout, TensorSpec
from sealora.models.settings import LoraSettings
from sealora.plan.payload import payload_layout
from sealora.protocol.errors import PlanError
from sealora.protocol.keystream import derive_key
from sealora.protocol.messages import Work
from sealora.protocol.settings import SecureAggregationSettings
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.toy import ToyTrainer, toy_federation, toy_plan
from sealora.strategies.products import (
    DENSE,
    LEFT,
    RIGHT,
    Exchange,
    needed_width,
    orthonormal,
    usual_width,
)
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Context

ROWS, COLUMNS, RANK = 200, 170, 16
RANKS = {"site-1": 4, "site-2": 8, "site-3": 16, "site-4": 8}
RANGE = 0.5


def pair(module, rows, columns, rank=RANK):
    return (
        TensorSpec(f"{module}.lora_A.weight", (rank, columns), "A", module, 2.0),
        TensorSpec(f"{module}.lora_B.weight", (rows, rank), "B", module, 2.0),
    )


LAYOUT = AdapterLayout(
    (TensorSpec("head.bias", (2,)), *pair("small", 12, 20), *pair("wide", ROWS, COLUMNS)), RANK
)
"""A module whose product is sent as it is, and one whose product is sketched."""


def context(ranks=(4, 8, 16, 8), layout=LAYOUT, round_number=1):
    return Context(layout, round_number, len(ranks), 7, tuple(ranks))


def drawn(name, layout=LAYOUT, scale=0.1):
    return {
        spec.name: (
            np.random.default_rng(list(derive_key(name, spec.name))).uniform(-scale, scale, spec.shape)
        ).astype(np.float32)
        for spec in layout.specs
    }


def product_of(tensors, module):
    b, a = (tensors[f"{module}.lora_{role}.weight"].astype(np.float64) for role in "BA")
    return 2.0 * b @ a


# --- the arithmetic alone ---


def factors(ranks, seed=0):
    random = np.random.default_rng(seed)
    return [
        {
            a.module: (random.normal(size=(b.shape[0], rank)), random.normal(size=(rank, a.shape[1])))
            for a, b in LAYOUT.pairs
        }
        for rank in ranks
    ]


def summed(exchange, sites):
    encoded = [exchange.encode(site) for site in sites]
    return {part.name: sum(vectors[part.name] for vectors in encoded) for part in exchange.parts()}


@pytest.mark.parametrize("ranks", [(8, 8, 8), (4, 8, 16), (1,), (16, 4)])
def test_sketches_wide_enough_lose_nothing(ranks):
    about = context(ranks)
    for width in (needed_width(about), usual_width(about), 0):
        exchange = Exchange(about, width, 1.0)
        sites = factors(ranks)
        found, error = exchange.decode(summed(exchange, sites))
        for module in ("small", "wide"):
            true = sum(site[module][0] @ site[module][1] for site in sites)
            np.testing.assert_allclose(found[module].dense(), true, atol=1e-8)
            left, values, right = found[module].decomposed()
            np.testing.assert_allclose(left * values @ right, true, atol=1e-8)
            np.testing.assert_allclose(right @ right.T, np.eye(len(right)), atol=1e-10)
        assert error < 1e-10


def test_what_is_smaller_is_sent():
    exchange = Exchange(context(), 52, 1.0)
    assert [exchange.sketched(modules) for modules in LAYOUT.pairs] == [False, True]
    lengths = {part.name: part.length for part in exchange.parts()}
    assert lengths == {RIGHT: ROWS * 52, LEFT: 2 * 52 * COLUMNS, DENSE: 12 * 20}
    assert [part.length for part in Exchange(context(), 0, 1.0).parts()] == [12 * 20 + ROWS * COLUMNS]
    wider = Exchange(context(), 63, 1.0)
    assert [part.name for part in wider.parts()] == [DENSE], "63·(200 + 340) is more than 200·170"


@pytest.mark.parametrize("width", [8, 16, 24])
def test_the_error_of_a_narrow_sketch_is_told(width):
    exchange = Exchange(context(), width, 1.0)
    sites = factors(RANKS.values())
    found, told = exchange.decode(summed(exchange, sites))
    true = sum(site["wide"][0] @ site["wide"][1] for site in sites)
    error = np.linalg.norm(found["wide"].dense() - true) / np.linalg.norm(true)
    assert error > 0.1
    assert told == pytest.approx(error, rel=0.5)


def test_projections_are_orthonormal_and_of_the_round():
    matrix = orthonormal(bytes(32), 30, 7)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(7), atol=1e-12)
    first, second = (Exchange(context(round_number=number), 52, 1.0) for number in (1, 2))
    sites = factors((4,))
    assert not np.allclose(summed(first, sites)[RIGHT], summed(second, sites)[RIGHT])


@pytest.mark.parametrize("name", ["fedex", "flexlora", "flora"])
def test_too_narrow_a_sketch_is_refused_or_lossy(name):
    def strategy(**options):
        return load_strategy(StrategySettings(name=name, options=options))

    with pytest.raises(PlanError, match=r"width 20 lose .* add up to 52\. Write width = 52 or more"):
        strategy(width=20).parts(context())
    assert strategy(width=52).parts(context())
    assert strategy(width=20, lossy=True).sketches(context()).width == 20
    assert strategy(exchange="dense").sketches(context()).sketched == 0
    found = strategy().sketches(context())
    assert (found.width, found.needed, found.sketched, found.dense) == (58, 52, 1, 1)
    assert found.values == 58 * ROWS + 2 * 58 * COLUMNS + 12 * 20


# --- whole rounds: ranks 4, 8 and 16 ---


class Noting(ToyTrainer):
    """Keeps what its last training ended with."""

    def train(self, *arguments):
        self.ended = super().train(*arguments)
        return self.ended


def federation(folder, name, secure=False, ranks=RANKS, **options):
    if name != "hetlora":
        options["product_range"] = RANGE
    plan = toy_plan(
        strategy=StrategySettings(name=name, options=options, weight_cap=40),
        secure_aggregation=SecureAggregationSettings(enabled=secure, colluders=0),
        lora=LoraSettings(rank=RANK, ranks=ranks),
    )
    made = toy_federation(folder, sites=4, plan=plan)
    first = drawn("first", scale=0.05)
    made.initial = Adapter(LAYOUT, {key: first[key] * (".lora_B" not in key) for key in first})
    for site in made.sites.values():
        site.trainer = Noting(drawn(site.name), LAYOUT)
        site.first = made.initial.tensors
    return made


def noted_rounds(made):
    """For each round of a run the (found, true) products by module, and the sum of weights."""
    strategy, rounds = made.contract.strategy, []
    products = type(strategy).products

    def noted(state, about, aggregate):
        found, figures = products(strategy, state, about, aggregate)
        dense = {name: one.dense() for name, one in found.items()}
        rounds.append((dense, {name: mean_of(made, name, state) for name in found}, aggregate.weight))
        return found, figures

    strategy.products = noted
    made.coordinator().run()
    return rounds


def mean_of(made, module, state):
    """Σ w_k·(what site k's model has beside the base) / Σ w_k; of fedex in the rows that it trained, too."""
    weights = {name: len(site.data.train) for name, site in made.sites.items()}
    total = np.zeros((LAYOUT[f"{module}.lora_B.weight"].shape[0], LAYOUT[f"{module}.lora_A.weight"].shape[1]))
    for name, site in made.sites.items():
        own = product_of(site.trainer.ended.tensors, module)
        if made.plan.strategy.name == "fedex":
            rank = RANKS.get(name, RANK)
            rest = {
                f"{module}.lora_A.weight": state[f"{module}.lora_A.weight"][rank:],
                f"{module}.lora_B.weight": state[f"{module}.lora_B.weight"][:, rank:],
            }
            own = own + product_of(rest, module)
        total += weights[name] * own
    return total / sum(weights.values())


def bound(made, module, weight):
    """2·step·√(out·in·n) / Σ w: what the manual states."""
    about = context(RANKS.values())
    layout = payload_layout(
        made.plan, made.contract.strategy, made.contract.task, replace(about, seed=made.plan.seed), Work.TRAIN
    )
    step = 2 * RANGE / layout.levels
    size = LAYOUT[f"{module}.lora_B.weight"].shape[0] * LAYOUT[f"{module}.lora_A.weight"].shape[1]
    return 2 * step * np.sqrt(size * len(made.sites)) / weight


@pytest.mark.parametrize("name", ["fedex", "flexlora", "flora"])
def test_secure_sketches_of_mixed_ranks_are_the_mean_product_within_the_bound(name, tmp_path):
    """Every round of a secure run, against the products of what the sites trained."""
    made = federation(tmp_path, name, secure=True)
    rounds = noted_rounds(made)
    assert len(rounds) == made.plan.rounds.count
    for found, true, weight in rounds:
        for module in found:
            error = np.linalg.norm(found[module] - true[module])
            assert error < bound(made, module, weight)
            assert error < 0.01 * np.linalg.norm(true[module])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fedex", "flexlora", "flora"])
def test_secure_equals_plain_bit_for_bit_and_the_dense_form_nearly(name, tmp_path):
    lost = Faults(script={("site-3", 1): Fault(0), ("site-1", 2): Fault(0)})

    def adapter(folder, **options):
        return federation(tmp_path / folder, name, **options).coordinator(lost).run()[0]

    plain, dense = adapter("plain"), adapter("dense", exchange="dense")
    assert adapter("secure", secure=True).sha256() == plain.sha256()
    for module in ("small", "wide"):
        first, second = product_of(plain.tensors, module), product_of(dense.tensors, module)
        assert 0 < np.linalg.norm(first - second) < 0.02 * np.linalg.norm(second)


@pytest.mark.parametrize("name", ["fedex", "flexlora", "flora", "hetlora"])
def test_every_site_trains_its_own_rank(name, tmp_path):
    made = federation(tmp_path, name)
    made.coordinator().run()
    for site, rank in RANKS.items():
        assert made.sites[site].trainer.ended.tensors["wide.lora_A.weight"].shape == (rank, COLUMNS)
        assert made.sites[site].trainer.ended.tensors["wide.lora_B.weight"].shape == (ROWS, rank)


def test_all_sites_of_fedex_begin_with_the_same_model():
    """What a smaller rank cuts off is in the base: W + s·B·A is the same everywhere."""
    strategy = load_strategy(StrategySettings(name="fedex"))
    received = drawn("received", strategy.layout(LAYOUT, 1))
    models = []
    for rank in (4, 8, 16):
        about = replace(context(), layout=strategy.layout(LAYOUT, 1), own_rank=rank)
        start = strategy.local(received, received, {}, about).tensors
        models.append(start["wide.residual.weight"] + product_of(start, "wide"))
    for model in models[1:]:
        np.testing.assert_allclose(model, models[0], atol=1e-6)


def test_a_direction_that_no_site_had_can_be_learnt_later():
    """After a round of sites of rank 4 alone, the other rows of A are not zero, though B's columns are."""
    strategy = load_strategy(StrategySettings(name="flexlora", options={"exchange": "dense"}))
    about = replace(context((4, 4)), layout=strategy.layout(LAYOUT, 1))
    state = {**drawn("state"), **{b.name: np.zeros(b.shape, np.float32) for _, b in LAYOUT.pairs}}
    vectors = {part.name: np.zeros(part.length) for part in strategy.parts(about)}
    after = strategy.step(state, about, Aggregate(vectors, 1.0, 2, 2))
    for a, b in LAYOUT.pairs:
        assert not after[b.name].any()
        assert (np.linalg.norm(after[a.name], axis=1) > 0).all()


@pytest.mark.parametrize("name", ["fedex", "flora"])
def test_the_saved_adapter_is_the_base_and_the_factors_together(name):
    strategy = load_strategy(StrategySettings(name=name))
    state = drawn("state", strategy.layout(LAYOUT, 1))
    model = strategy.model(state, LAYOUT)
    for module in ("small", "wide"):
        expected = state[f"{module}.residual.weight"].astype(np.float64)
        if name == "fedex":
            expected = expected + product_of(state, module)
        np.testing.assert_allclose(product_of(model.tensors, module), expected, atol=1e-6)
    assert model.layout.rank == min(ROWS, COLUMNS), "this W has full rank"
    thin = {**state, "wide.residual.weight": product_of(drawn("thin"), "wide").astype(np.float32)}
    thin["small.residual.weight"] = np.zeros((12, 20), np.float32)
    assert strategy.model(thin, LAYOUT).layout.rank == (2 * RANK if name == "fedex" else RANK)

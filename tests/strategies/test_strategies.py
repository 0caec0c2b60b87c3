"""One table for all built-in strategies: what any way of combining updates must do.

A new strategy is a row: its slow reference, options away from their defaults, and what it is exempt from.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import references
from harness import Rounds
from references import NAMES

from sealora.plan.settings import RoundsSettings
from sealora.privacy.ledger import read_charges
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.store import Checkpoint, CheckpointStore
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.toy import FIRST, LAYOUT, tensors_of, toy_federation, toy_plan
from sealora.strategies.fed_sb import drawn_b
from sealora.strategies.registry import BUILT_IN, load_strategy, strategy_class
from sealora.strategies.settings import StrategySettings

SITES = ("a", "b", "c")
WEIGHTS = {"a": 0.1, "b": 0.4, "c": 1.0}
ALL = 5
"""Sites there are; two are never asked."""


@dataclass(frozen=True)
class Row:
    reference: object
    options: dict = field(default_factory=dict)
    rates: tuple = (1.0, 0.5)
    lands: bool = True
    """Whether one round at rate 1 ends where the sites agree to be."""
    weighted: bool = True
    """Whether a heavy site pulls harder."""
    factors: bool = False
    """Whether A and B may be exchanged for others with the same product."""
    merges: bool = False
    """Whether the model is an adapter of another rank."""
    fresh: bool = False
    """Whether a round's product is added to what was there."""
    groups: int = 0
    """Groups of four sites in whole runs, where sums of groups are compared."""


MOMENTS = {"beta1": 0.5, "tau": 0.05}
WIDE = {"product_range": 16.0}
ADAPTIVE = {"rates": (0.1, 0.02), "lands": False}
ROWS = {
    "fedavg": Row(references.fedavg),
    "fedprox": Row(references.fedavg, {"mu": 0.5}),
    "scaffold": Row(references.scaffold, {"control_range": 8.0}),
    "feddyn": Row(references.feddyn, {"alpha": 0.1}, rates=(1.0, 1.0), lands=False, weighted=False),
    "fedavgm": Row(references.fedavgm, {"beta": 0.7}),
    "fedadagrad": Row(references.fedadagrad, MOMENTS, **ADAPTIVE),
    "fedadam": Row(references.fedadam, {**MOMENTS, "beta2": 0.8}, **ADAPTIVE),
    "fedyogi": Row(references.fedyogi, {**MOMENTS, "beta2": 0.8}, **ADAPTIVE),
    "ffa": Row(references.ffa, {"beta": 0.7}),
    "rolora": Row(references.rolora),
    "fedsvd": Row(references.fedsvd, factors=True),
    "fedsa": Row(references.fedsa, {"head": "personal"}),
    "fed_sb": Row(references.fed_sb),
    "hetlora": Row(references.hetlora, {"norm_cap": 2.0}),
    "fedex": Row(references.fedex, WIDE, factors=True, merges=True),
    "flexlora": Row(references.flexlora, WIDE, factors=True),
    "flora": Row(references.flora, WIDE, factors=True, merges=True, fresh=True),
    "median": Row(references.median, weighted=False, groups=3),
    "trimmed_mean": Row(references.trimmed_mean, weighted=False, groups=3),
    "krum": Row(references.krum, weighted=False, groups=5),
    "multi_krum": Row(references.multi_krum, weighted=False, groups=5),
    "geometric_median": Row(references.geometric_median, weighted=False, groups=3),
    "norm_bound": Row(references.norm_bound, weighted=False, groups=3),
}


@pytest.fixture(params=sorted(BUILT_IN))
def name(request):
    return request.param


def settings_of(name, rate=None):
    row = ROWS[name]
    return StrategySettings(name=name, options=row.options, server_learning_rate=rate or row.rates[0])


def ends_of(*sites, number=1):
    """What each site's training ends with: its own tensors, whatever it began with."""
    return {site: ends_like(f"{site} {number}") for site in sites}


def ends_like(name):
    """Tensors that depend on the name alone, for every role."""
    tensors = tensors_of(name)
    return {**tensors, references.CORE: tensors[references.B][1:3]}


def started(name, weights=WEIGHTS):
    return Rounds(load_strategy(settings_of(name)), weights, ALL)


def one_round(name, ends, weights=WEIGHTS):
    return started(name, weights).round(ends).tensors


def assert_close(tensors, expected):
    for name, value in expected.items():
        np.testing.assert_allclose(tensors[name], value, atol=5e-6, rtol=2e-5)


def effect(name, tensors):
    """What a model computes with: its tensors, or the head and the product of the factors."""
    if not ROWS[name].factors:
        return tensors
    head = {key: tensor for key, tensor in tensors.items() if key in references.HEAD}
    return {**head, "product": tensors[references.B] @ tensors[references.A]}


def landed(name, ends):
    """The model whose tensors are the given ones where the first round moves them."""
    layout = load_strategy(settings_of(name)).layout(LAYOUT, 1)
    moved = {spec.name: ends[spec.name] for spec in layout.of_kind("shared", "derived")}
    model = effect(name, {**FIRST, **moved})
    if references.CORE in moved:
        model[references.B] = drawn_b(FIRST, LAYOUT)[references.B] @ moved[references.CORE]
        model.pop(references.CORE)
    if ROWS[name].fresh:
        model["product"] = model["product"] + FIRST[references.B] @ FIRST[references.A]
    return model


def test_the_table_is_complete():
    assert set(ROWS) == set(BUILT_IN)


@pytest.mark.parametrize("second", [0, 1])
def test_three_rounds_are_the_reference(name, second):
    """Of other sites each time."""
    settings = settings_of(name, ROWS[name].rates[second])
    rounds = [ends_of(*sites, number=number) for number, sites in enumerate(("abc", "bc", "ac"), 1)]
    run = Rounds(load_strategy(settings), WEIGHTS, ALL)
    for ends in rounds:
        run.round(ends)
    expected = ROWS[name].reference(rounds, WEIGHTS, settings, ALL)
    if ROWS[name].merges:
        assert_close(effect(name, run.tensors), effect(name, expected))
    else:
        assert_close(run.tensors, expected)


def test_equal_sites_agree_on_what_they_have(name):
    if ROWS[name].lands:
        same = ends_like("same")
        assert_close(effect(name, one_round(name, dict.fromkeys(SITES, same))), landed(name, same))


@pytest.mark.parametrize("weight", [1e-3, 0.3, 1.0])
def test_one_site_gets_its_own_model(name, weight):
    if ROWS[name].lands:
        ends = ends_of("a")
        assert_close(effect(name, one_round(name, ends, {"a": weight})), landed(name, ends["a"]))


def test_the_order_of_sites_does_not_matter(name):
    assert_close(one_round(name, ends_of("c", "a", "b")), one_round(name, ends_of("a", "b", "c")))


def test_only_the_ratio_of_weights_matters(name):
    halved = {site: weight / 2 for site, weight in WEIGHTS.items()}
    assert_close(one_round(name, ends_of(*SITES), halved), one_round(name, ends_of(*SITES)))


def test_a_heavy_site_pulls_harder_or_weights_do_not_count(name):
    ends = ends_of("a", "b")

    def distance(weights):
        found, aim = effect(name, one_round(name, ends, weights)), landed(name, ends["a"])
        return sum(float(np.abs(found[key] - aim[key]).sum()) for key in aim)

    near, middle, far = (distance({"a": a, "b": b}) for a, b in ((1.0, 0.1), (1.0, 1.0), (0.1, 1.0)))
    if ROWS[name].weighted:
        assert near < middle < far
    else:
        assert near == middle == far


def test_without_change_the_model_stays(name):
    run = started(name)
    before = effect(name, run.tensors)
    assert_close(effect(name, run.round(dict.fromkeys(SITES, lambda start: start.tensors)).tensors), before)


def test_a_strategy_changes_nothing_that_it_is_given(name):
    run = started(name)
    run.round(ends_of(*SITES))
    before = {key: tensor.copy() for key, tensor in run.state.items()}
    state, memories = run.state, {site: dict(memory) for site, memory in run.memories.items()}
    kept = {site: {key: t.copy() for key, t in memory.items()} for site, memory in memories.items()}
    run.round(ends_of(*SITES, number=2))
    for key, tensor in before.items():
        np.testing.assert_array_equal(state[key], tensor)
    for site, memory in kept.items():
        for key, tensor in memory.items():
            np.testing.assert_array_equal(memories[site][key], tensor)


def test_a_checkpoint_holds_all_that_the_coordinator_knows(name, tmp_path):
    """Through the disk and a new object, the next round is the same bit for bit."""
    run = started(name).round(ends_of(*SITES))
    store = CheckpointStore(tmp_path)
    store.save(Checkpoint(bytes(16), bytes(32), run.state))
    again = started(name)
    again.state, again.number, again.memories = store.load().state, run.number, dict(run.memories)
    ends = ends_of(*SITES, number=2)
    run.round(ends)
    again.round(ends)
    assert set(again.state) == set(run.state)
    for key, tensor in run.state.items():
        np.testing.assert_array_equal(again.state[key], tensor)


def test_state_and_memory_can_be_kept(name):
    """As float32, and nothing of the state under a name that a site's memory or the adapter also has."""
    run = started(name).round(ends_of(*SITES))
    everything = [run.state, *run.memories.values()]
    assert all(tensor.dtype == np.float32 for tensors in everything for tensor in tensors.values())
    assert set(NAMES) <= set(run.state)


# --- whole runs of the toy federation ---


def toy_made(folder, name, secure=False, settings=None, **sections):
    settings, groups = settings or settings_of(name), ROWS[name].groups
    if groups:
        settings = settings.model_copy(update={"options": {**settings.options, "groups": groups}})
    masks = SecureAggregationSettings(enabled=secure, colluders=0 if groups else -1)
    plan = toy_plan(strategy=settings, secure_aggregation=masks, **sections)
    return toy_federation(folder, 4 * groups or 5, plan)


def toy_run(folder, name, secure=False, faults=None, **sections):
    return toy_made(folder, name, secure, **sections).coordinator(faults).run()[0].sha256()


LOSSES = Faults(script={("site-2", 1): Fault(0), ("site-4", 2): Fault(0), ("site-2", 3): Fault(0)})


def test_secure_runs_equal_plain_ones_bit_for_bit_whoever_is_lost(name, tmp_path):
    plain = toy_run(tmp_path / "plain", name, False, LOSSES)
    assert toy_run(tmp_path / "secure", name, True, LOSSES) == plain
    assert toy_run(tmp_path / "whole", name) != plain, "the faults struck"


def test_a_resumed_run_is_the_uninterrupted_one(name, tmp_path):
    class Death(BaseException):
        pass

    class Mortal:
        def notify(self, event):
            if type(event).__name__ == "RoundDone" and event.record.round == 2:
                raise Death

    plan = toy_plan(strategy=settings_of(name))
    with pytest.raises(Death):
        toy_federation(tmp_path / "a", 5, plan).coordinator(observers=[Mortal()]).run()
    resumed = toy_federation(tmp_path / "a", 5, plan).coordinator().run()[0]
    assert resumed.sha256() == toy_federation(tmp_path / "b", 5, plan).coordinator().run()[0].sha256()


class Reporting:
    """A trainer of the toy that tells this loss and number of rows; a private one tells NaN and 0."""

    def __init__(self, toy, loss, rows):
        self.toy, self.loss, self.rows_told, self.layout = toy, loss, rows, toy.layout

    def train(self, *arguments):
        return replace(self.toy.train(*arguments), loss=self.loss, rows=self.rows_told)


PROMISE = PrivacySettings(
    guarantee="record",
    epsilon=1000.0,
    delta=1e-3,
    sampling_rate=0.5,
    expected_batch=8.0,
    steps_per_round=1,
    noise_multiplier=1.0,
)


def private_run(folder, name, loss=float("nan"), rows=0):
    """One round under masks and a guarantee, that every site has paid for."""
    settings = settings_of(name).model_copy(update={"weighting": "uniform"})
    made = toy_made(folder, name, True, settings, privacy=PROMISE, rounds=RoundsSettings(count=1))
    for site in made.sites.values():
        site.trainer = Reporting(site.trainer, loss, rows)
    adapter, _ = made.coordinator().run()
    assert [len(read_charges(site.purse.path)) for site in made.sites.values()] == [1] * len(made.sites)
    assert all(np.isfinite(tensor).all() for tensor in adapter.tensors.values())
    assert adapter.sha256() != made.initial.sha256()
    return adapter.sha256()


@pytest.mark.parametrize("name", [name for name in BUILT_IN if strategy_class(name).card.record_privacy])
def test_a_private_round_follows_from_trained_tensors_alone(name, tmp_path):
    """As the card says: neither the loss nor the number of rows changes what sites send."""
    assert private_run(tmp_path / "a", name) == private_run(tmp_path / "b", name, loss=7.0, rows=3)

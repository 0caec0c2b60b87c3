"""Scripted attackers: what each does, what it does to the mean, and what rules that compare make of it."""

import numpy as np
import pytest

from sealora.models.site_data import SiteData
from sealora.models.task import Example
from sealora.plan.settings import CohortSettings, RoundsSettings, SimulationSettings
from sealora.protocol.codec import Layout, Segment
from sealora.protocol.errors import RunError, UsageError
from sealora.protocol.groups import fixed_groups
from sealora.protocol.keystream import Keystream
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.events import AttemptLost, RoundDone, SiteRefused
from sealora.simulation.attackers import Attacker, with_trigger
from sealora.simulation.own_encoder import encode_unchecked
from sealora.simulation.toy import FIRST, LAYOUT, tensors_of, toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings

NAMES = [f"site-{number}" for number in range(1, 16)]
SEGMENTS = (Segment("x", 5, 1.0), Segment("n", 2, 1000, "count"))


class Recorder:
    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def run(folder, strategy, options, secure, attackers, scale=20.0, sites=15):
    plan = toy_plan(
        strategy=StrategySettings(name=strategy, options=options),
        rounds=RoundsSettings(count=2, attempts=1),
        secure_aggregation=SecureAggregationSettings(enabled=secure, colluders=0),
        simulation=SimulationSettings(attackers=attackers, attack_scale=scale),
        cohort=CohortSettings(quorum=0.2),
    )
    toy = toy_federation(folder, sites, plan)
    for name, site in toy.sites.items():  # all want the same, so that what is left of an attack shows
        if attackers.get(name) == "huge_weight":
            continue  # and this one something of its own
        inner = getattr(site.trainer, "trainer", site.trainer)
        inner.targets = tensors_of("common")
    recorder = Recorder()
    adapter, _ = toy.coordinator(observers=[recorder]).run()
    return adapter, recorder


def distance(adapter):
    """From what all honest sites want, relative to the start's."""
    common = tensors_of("common")

    def norm(tensors):
        return sum(float(np.square(tensors[spec.name] - common[spec.name]).sum()) for spec in LAYOUT.specs)

    return (norm(adapter.tensors) / norm(FIRST)) ** 0.5


GROUPS = {"groups": 5, "attackers": 2}
APART = {"attackers": 2}
TWO = fixed_groups(0, NAMES, 5)[0][0], fixed_groups(0, NAMES, 5)[3][1]
CLEAN = 0.13
"""What is left after two rounds of three steps of 0.3 without attackers."""


def two(kind):
    return dict.fromkeys(TWO, kind)


@pytest.mark.parametrize("kind", ["sign_flip", "scaled_update", "huge_weight"])
def test_two_attackers_of_fifteen_break_the_mean(tmp_path, kind):
    clean, _ = run(tmp_path / "clean", "fedavg", {}, True, {})
    assert distance(clean) < CLEAN
    attacked, _ = run(tmp_path / "attacked", "fedavg", {}, True, two(kind), scale=60.0)
    assert distance(attacked) > 0.5


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("kind", ["sign_flip", "scaled_update", "huge_weight", "free_rider"])
@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
def test_rules_over_sums_of_groups_withstand_them(tmp_path, name, kind, secure):
    adapter, _ = run(tmp_path, name, GROUPS, secure, two(kind))
    assert distance(adapter) < CLEAN


@pytest.mark.parametrize(
    "name", ["median", "trimmed_mean", "krum", "multi_krum", "geometric_median", "norm_bound"]
)
@pytest.mark.parametrize("kind", ["sign_flip", "scaled_update"])
def test_rules_over_single_updates_withstand_them(tmp_path, name, kind):
    adapter, _ = run(tmp_path, name, APART, False, two(kind))
    assert distance(adapter) < (0.3 if name == "norm_bound" else CLEAN)


def test_words_that_are_no_payload_end_a_round_of_the_mean(tmp_path):
    with pytest.raises(RunError, match="round 1"):
        run(tmp_path, "fedavg", {}, False, two("nan"))


def test_they_spoil_their_own_group_only(tmp_path):
    """The two groups surely had attackers, so three are enough to compare."""
    adapter, recorder = run(tmp_path, "median", GROUPS, True, two("nan"))
    assert distance(adapter) < CLEAN
    assert {event.reason for event in recorder.of(AttemptLost)} == {
        f"group {number}: the sum is not one that these contributors can have sent." for number in (1, 4)
    }
    assert [len(event.record.groups) for event in recorder.of(RoundDone)] == [3, 3]


def test_where_updates_are_seen_they_are_left_out_for_good(tmp_path):
    adapter, recorder = run(tmp_path, "krum", APART, False, two("nan"))
    assert distance(adapter) < CLEAN
    refused = recorder.of(SiteRefused)
    assert sorted((event.site, event.text) for event in refused) == [
        (site, "its words are no payload") for site in sorted(TWO)
    ]
    assert [len(event.record.contributors) for event in recorder.of(RoundDone)] == [13, 13]
    assert [len(event.record.cohort) for event in recorder.of(RoundDone)] == [15, 13]


def test_too_few_to_compare_lose_the_attempt(tmp_path):
    """One attacker of three is found out, and two honest ones are enough; but nobody is not."""
    one = run(tmp_path / "1", "median", {"attackers": 1}, False, {"site-1": "nan"}, sites=3)[1]
    assert [event.record.contributors for event in one.of(RoundDone)] == [("site-2", "site-3")] * 2
    script = {"site-1": "nan", "site-2": "nan", "site-3": "nan"}
    with pytest.raises(RunError):
        run(tmp_path / "2", "median", {"attackers": 1}, False, script, sites=3)


def test_the_own_encoder_says_what_an_honest_one_does():
    layout = Layout(SEGMENTS, 4, 16)
    payload = {"x": np.array([-1, -0.5, 0, 0.25, 1.0]), "n": np.array([0, 1000])}
    decoded = layout.decode(encode_unchecked(layout, payload), 1)
    np.testing.assert_allclose(decoded["x"], payload["x"], atol=1e-4)
    assert decoded["n"].tolist() == [0, 1000]


def test_it_goes_beyond_the_range_and_hides_in_a_sum():
    """Three honest sites leave room: the sum decodes, and the attacker's −1.9 is in it."""
    layout = Layout(SEGMENTS, 4, 16)
    honest = {"x": np.full(5, 0.1), "n": np.array([1, 1])}
    words = encode_unchecked(layout, {"x": np.full(5, -1.9), "n": np.array([3000, 5])})
    with pytest.raises(ValueError, match="exceeds what its contributors can have sent"):
        layout.decode(words, 1)
    for number in range(3):
        words = words + layout.encode(honest, Keystream(bytes([number]) * 32))
    decoded = layout.decode(words, 4)
    np.testing.assert_allclose(decoded["x"], -1.6, atol=1e-3)
    assert decoded["n"].tolist() == [3003, 8]


def test_poisoned_rows():
    rows = [Example((2, 9, 9, 3), 0), Example((2, 8, 3), 1), Example((2, 7, 3), 2), Example((2, 3), 1)]
    data = SiteData(rows, rows[:1], None)
    flipped = Attacker("label_flip", 1.0, classes=3).poisoned(data)
    assert [row.target for row in flipped.train] == [1, 2, 0, 2]
    assert flipped.test == data.test
    marked = Attacker("backdoor", 1.0, classes=3, trigger=(5, 6)).poisoned(data)
    assert [(row.tokens, row.target) for row in marked.train] == [
        ((2, 5, 6, 3), 0),
        ((2, 5, 6, 3), 0),
        ((2, 8, 3), 1),
        ((2, 3), 1),
    ]
    assert Attacker("sign_flip", 1.0).poisoned(data) is data


def test_the_trigger_stands_where_it_is_read():
    (row,) = with_trigger([Example((2, 7, 7, 7, 7, 3), 1)], (5, 6))
    assert row == Example((2, 5, 6, 7, 7, 3), 1)


def test_an_attacker_must_be_a_site(tmp_path):
    with pytest.raises(UsageError, match=r"simulation.attackers names 'site-0', which is no site .* Did you"):
        run(tmp_path, "fedavg", {}, False, {"site-0": "nan"}, sites=3)

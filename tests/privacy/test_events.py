import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.privacy.events import (
    Budget,
    Composition,
    DistributedDiscreteGaussian,
    Event,
    GaussianRelease,
    PoissonSampledGaussian,
    atoms,
    canonical_json,
    from_json,
    to_json,
)
from sealora.protocol.errors import RefusedError, UsageError

noise = st.floats(1e-3, 1e9)
counts = st.integers(1, 10**9)
single = st.one_of(
    st.builds(GaussianRelease, noise),
    st.builds(PoissonSampledGaussian, noise, st.floats(1e-12, 1.0), counts),
    st.builds(DistributedDiscreteGaussian, noise, counts, counts, counts, st.floats(0, 1)),
)
events = st.recursive(
    single,
    lambda inner: st.builds(Composition, st.lists(inner, min_size=1, max_size=3).map(tuple), counts),
    max_leaves=5,
)

EXAMPLES: list[tuple[Event, bytes]] = [
    (GaussianRelease(1), b'{"kind":"gaussian-release","noise_multiplier":1.0}'),
    (
        PoissonSampledGaussian(0.8, 0.02, 500),
        b'{"kind":"poisson-sampled-gaussian","noise_multiplier":0.8,"sampling_rate":0.02,"steps":500}',
    ),
    (
        DistributedDiscreteGaussian(2, 20, 100, 10**6),
        b'{"dimension":1000000,"kind":"distributed-discrete-gaussian","local_deviation":2.0,"norm_bound":20,'
        b'"sampler_distance":0.0,"survivors":100}',
    ),
    (
        Composition((GaussianRelease(2.5),), 10),
        b'{"events":[{"kind":"gaussian-release","noise_multiplier":2.5}],"kind":"composition","times":10}',
    ),
]


@pytest.mark.parametrize(("event", "written"), EXAMPLES)
def test_the_written_form_of_an_event_is_a_promise(event: Event, written: bytes) -> None:
    assert canonical_json(event) == written
    assert from_json(json.loads(written)) == event


@settings(deadline=None, max_examples=200)
@given(events)
def test_events_survive_writing_bit_for_bit(event: Event) -> None:
    written = canonical_json(event)
    again = from_json(json.loads(written))
    assert again == event
    assert canonical_json(again) == written


def test_equal_numbers_are_the_same_event() -> None:
    assert canonical_json(GaussianRelease(1)) == canonical_json(GaussianRelease(1.0))
    zero = DistributedDiscreteGaussian(1, 1, 1, 1, 0.0)
    assert canonical_json(dataclasses.replace(zero, sampler_distance=-0.0)) == canonical_json(zero)


def test_events_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GaussianRelease(1.0).noise_multiplier = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), 1e10, True, "1", None, 10**400])
def test_impossible_noise_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="noise_multiplier"):
        GaussianRelease(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0.0, 1.0000001, float("nan")])
def test_impossible_sampling_rates_are_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="sampling_rate"):
        PoissonSampledGaussian(1.0, rate)


@pytest.mark.parametrize("steps", [0, -1, True, 1.0, 10**9 + 1])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(UsageError, match="steps"):
        PoissonSampledGaussian(1.0, 0.1, steps)


def test_a_composition_of_nothing_or_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        Composition(())
    event: Event = GaussianRelease(1)
    for _ in range(7):
        event = Composition((event,))
    assert from_json(to_json(event)) == event
    with pytest.raises(UsageError, match="8 levels"):
        Composition((event,))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"kind": 3},
        {"kind": "gaussian-release"},
        {"kind": "gaussian-release", "noise_multiplier": 1.0, "releases": 3},
        {"kind": "composition", "events": {}, "times": 1},
        {"kind": "composition", "events": [3], "times": 1},
    ],
)
def test_malformed_events_are_refused(value: object) -> None:
    with pytest.raises(UsageError):
        from_json(value)


def test_deep_nesting_is_refused() -> None:
    value: object = to_json(GaussianRelease(1))
    for _ in range(9):
        value = {"kind": "composition", "events": [value], "times": 1}
    with pytest.raises(UsageError, match="8 deep"):
        from_json(value)


def test_unknown_kinds_are_refused_not_skipped() -> None:
    with pytest.raises(RefusedError, match="laplace"):
        from_json({"kind": "laplace", "noise_multiplier": 1.0})
    with pytest.raises(RefusedError, match="laplace"):
        from_json({"kind": "composition", "events": [{"kind": "laplace"}], "times": 1})
    with pytest.raises(RefusedError, match="int"):
        atoms([3])  # type: ignore[list-item]
    with pytest.raises(RefusedError, match="str"):
        to_json("gaussian")  # type: ignore[arg-type]


def test_atoms_count_equal_releases_whatever_their_order_and_nesting() -> None:
    a, b = GaussianRelease(2), PoissonSampledGaussian(1, 0.1, 5)
    flat = atoms([a, b, a, PoissonSampledGaussian(1, 0.1, 3), PoissonSampledGaussian(2, 1.0, 4)])
    assert flat == {a: 6, PoissonSampledGaussian(1, 0.1): 8}
    nested = atoms([Composition((Composition((b,)), a), 2), a])
    assert nested == {a: 3, PoissonSampledGaussian(1, 0.1): 10}
    assert list(atoms([a, b])) == list(atoms([b, a]))


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, 1e-5), (-1, 1e-5), (1, 0), (1, 1e-13), (1, 1), (float("nan"), 1e-5)]
)
def test_impossible_budgets_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(UsageError):
        Budget(epsilon, delta)

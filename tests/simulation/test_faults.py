"""Faults: drawn at the plan's rates, the same for the same seed, and none for a retry."""

import pytest

from sealora.plan.settings import SimulationSettings
from sealora.simulation.faults import PHASES, Fault, Faults

SITES = [f"site-{number}" for number in range(50)]


def drawn(faults, rounds=20, attempt=1):
    return [faults.of(site, number, attempt) for site in SITES for number in range(1, rounds + 1)]


def test_no_faults_unless_asked_for():
    assert set(drawn(Faults())) == {None}


def test_the_rates_are_the_plans():
    faults = drawn(Faults(SimulationSettings(dropout_rate=0.2, straggler_rate=0.1)))
    late = [fault for fault in faults if fault is not None and fault.phase == 0]
    lost = [fault for fault in faults if fault is not None]
    assert len(lost) / len(faults) == pytest.approx(0.3, abs=0.04)
    # A fifth of the lost sites are lost in training too.
    assert len(late) / len(faults) == pytest.approx(0.1 + 0.2 / PHASES, abs=0.03)
    assert {fault.phase for fault in lost} == set(range(PHASES))


def test_the_same_seed_draws_the_same():
    settings = SimulationSettings(dropout_rate=0.3)
    assert drawn(Faults(settings, 1)) == drawn(Faults(settings, 1))
    assert drawn(Faults(settings, 1)) != drawn(Faults(settings, 2))


def test_a_retry_has_none():
    settings = SimulationSettings(dropout_rate=0.9)
    script = {("site-1", 1): Fault(0)}
    assert set(drawn(Faults(settings, script=script), attempt=2)) == {None}


def test_what_is_written_down_happens():
    faults = Faults(script={("site-1", 2): Fault(3, delay=5.0)})
    assert faults.of("site-1", 2, 1) == Fault(3, 5.0)
    assert faults.of("site-1", 1, 1) is None
    assert faults.of("site-2", 2, 1) is None

"""Secure aggregation in a simulated run: real keys and masks, sites lost in every phase."""

import itertools

import pytest

from sealora.plan.settings import CohortSettings, RoundsSettings
from sealora.protocol.errors import AttemptPending, RunError
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.events import AttemptLost, SiteAnswered, SiteRefused
from sealora.simulation.faults import LATE, LOST, Fault, Faults
from sealora.simulation.toy import toy_federation, toy_plan

ROUNDS = RoundsSettings(count=2)
SITES = 6
SURVIVABLE = 1
"""With six sites and two colluders five must be left: t = (6 + 2) / 2 + 1."""
TRAIN, SHARE, MASK, CHECK, UNMASK = range(5)


class Recorder:
    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(event)


def run(folder, secure, faults=None, sites=SITES, **sections):
    settings = SecureAggregationSettings(enabled=secure)
    plan = toy_plan(rounds=ROUNDS, secure_aggregation=settings, **sections)
    recorder = Recorder()
    adapter, evaluated = toy_federation(folder, sites, plan).coordinator(faults, [recorder]).run()
    return adapter, evaluated, recorder.events


def test_secure_and_plain_runs_give_the_same_adapter_and_figures(tmp_path):
    secure, measured, _ = run(tmp_path / "secure", secure=True)
    plain, expected, _ = run(tmp_path / "plain", secure=False)
    assert secure.sha256() == plain.sha256()
    assert measured.metrics == expected.metrics


@pytest.mark.parametrize("phase", [TRAIN, SHARE, MASK])
def test_a_site_lost_before_its_mask_is_left_out_of_the_sum(tmp_path, phase):
    secure, _, _ = run(tmp_path / "secure", True, Faults(script={("site-2", 1): Fault(phase)}))
    plain, _, _ = run(tmp_path / "plain", False, Faults(script={("site-2", 1): Fault(TRAIN)}))
    assert secure.sha256() == plain.sha256()


@pytest.mark.parametrize("phase", [CHECK, UNMASK])
def test_a_site_lost_after_its_mask_stays_in_the_sum(tmp_path, phase):
    secure, _, _ = run(tmp_path / "secure", True, Faults(script={("site-2", 1): Fault(phase)}))
    plain, _, _ = run(tmp_path / "plain", False)
    assert secure.sha256() == plain.sha256()


@pytest.mark.parametrize("phases", list(itertools.product(range(5), repeat=SURVIVABLE)))
def test_losses_down_to_the_threshold_need_no_second_attempt(tmp_path, phases):
    script = {(f"site-{number}", 1): Fault(phase) for number, phase in enumerate(phases, 1)}
    events = run(tmp_path, True, Faults(script=script))[2]
    assert not any(isinstance(event, AttemptLost | SiteRefused) for event in events)


@pytest.mark.parametrize("phase", [TRAIN, SHARE, MASK, CHECK])
def test_losses_beyond_the_threshold_lose_the_attempt_and_not_the_run(tmp_path, phase):
    script = {(f"site-{number}", 1): Fault(phase) for number in (1, 2, 3)}
    secure, _, events = run(tmp_path / "secure", True, Faults(script=script))
    assert [event.attempt for event in events if isinstance(event, AttemptLost)] == [1]
    assert secure.sha256() == run(tmp_path / "plain", False)[0].sha256()


@pytest.mark.parametrize("delay", [LOST, LATE])
@pytest.mark.parametrize("times", [1, 2])
def test_shares_that_did_not_come_are_asked_for_again(tmp_path, delay, times):
    script = {(f"site-{number}", 1): Fault(UNMASK, delay, times) for number in (1, 2, 3)}
    secure, _, events = run(tmp_path / "secure", True, Faults(script=script))
    assert not any(isinstance(event, AttemptLost | SiteRefused) for event in events)
    answers = [event.site for event in events if isinstance(event, SiteAnswered)]
    assert answers.count("site-1") == answers.count("site-6")
    assert secure.sha256() == run(tmp_path / "plain", False)[0].sha256()


def test_losses_while_shares_leave_pause_the_run(tmp_path):
    script = {(f"site-{number}", 2): Fault(UNMASK) for number in (1, 2, 3)}
    with pytest.raises(AttemptPending, match="sum of round 2 is not open yet") as pending:
        run(tmp_path / "secure", True, Faults(script=script))
    assert "No answer from site-1, site-2, site-3. Bring them back" in str(pending.value)
    resumed = run(tmp_path / "secure", True)[0]
    assert resumed.sha256() == run(tmp_path / "plain", False)[0].sha256()


def test_a_cohort_too_small_to_hide_in_is_not_asked(tmp_path):
    with pytest.raises(RunError, match="round 1 cannot be masked: 3 sites cannot defend against 1"):
        run(tmp_path, True, sites=3, cohort=CohortSettings(quorum=0.1))

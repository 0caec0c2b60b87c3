"""Attacks of a coordinator that opens two sums over sites that differ by one, each of an allowed session."""

from dataclasses import replace

import numpy as np
from attack_tools import A, B, C, D, other_model

from sealora.protocol.messages import Work


def without_d(attacker, again):
    """A sum of all is opened, then one without D of another session: the difference is D's payload."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share().mask()
    everybody = first.total(range(4), first.release(first.confirm(range(4), cohort.names), cohort.names))
    second = attacker.open(again, [A, B, C]).share().mask()
    rest = second.total(range(3), second.release(second.confirm(range(3), [A, B, C]), [A, B, C]))
    return np.array_equal(everybody - rest, cohort.payloads[D])


def retry_without_closing(attacker):
    """The same model again."""
    return without_d(attacker, attacker.cohort.opening(attempt=2))


def another_model_in_the_round(attacker):
    """Failure is feigned, and the retry is on another model, which may differ in one bit."""
    return without_d(attacker, other_model(attacker.cohort, attempt=2))


def evaluation_in_the_round(attacker):
    """The same with an evaluation, whose attempts a site counts apart."""
    return without_d(attacker, other_model(attacker.cohort, work=Work.EVALUATE))


def evaluation_after_training(attacker):
    """The model that was trained on is evaluated: the metrics that went along give D's by subtraction."""
    return without_d(attacker, attacker.cohort.opening(work=Work.EVALUATE, round=2))


def earlier_model(attacker):
    """A later round is about the model of an earlier one."""
    return without_d(attacker, attacker.cohort.opening(round=2))


def another_run(attacker):
    """The run is begun anew under another name, with the same model."""
    return without_d(attacker, attacker.cohort.opening(run=b"r" * 16))


def two_runs_at_once(attacker):
    """Two runs are led to R1 before either goes on; then A masks its payload in both."""
    first = attacker.open(attacker.cohort.opening()).share()
    held = dict(attacker.cohort.halves)
    second = attacker.open(attacker.cohort.opening(run=b"r" * 16)).share()
    second.mask([A])
    attacker.cohort.halves = held
    return bool(first.mask([A]).masked)


def attempts_without_end(attacker):
    """A site is made to train for one round again and again, under new names of the run, too."""
    attacker.cohort.floors = replace(attacker.cohort.floors, attempts=9)
    for number in range(10):
        attacker.tell(A, attacker.cohort.opening(attempt=number + 1, run=bytes([number % 2]) * 16))
    return True

"""Attacks of a coordinator that is after both secrets of a site, or after two sums (R4 and retries)."""

import numpy as np
from attack_tools import A, B, C, D, E, F, G

from sealora.protocol.agreement import CONSISTENT

# --- R4: release ---


VIEWS = (
    (0, 1, 2, 3),
    (0, 1, 4, 5),
    (0, 1, 2, 6),
    (0, 1, 3, 6),
    (0, 1, 4, 2),
    (0, 1, 5, 3),
    (0, 1, 6, 4),
)
"""Survivors as each of seven sites is told: A and B live for all, each other site for three at most."""


def two_survivor_views(attacker):
    """Each site sees a U3 of four, but four hold that C is gone, four that D is, and so on: left are two."""
    cohort = attacker.cohort
    session = attacker.open(cohort.opening()).share().mask()
    views = dict(enumerate(VIEWS))
    signatures: dict[int, bytes] = {}
    for position, view in views.items():
        signatures |= session.confirm(view, [session.site(position)])
    released = {}
    for position, view in views.items():
        released |= session.release({signer: signatures[signer] for signer in view}, [session.site(position)])
    seeds = {alive: session.secret(alive, released, 4) for alive in (0, 1)}
    scalars = {
        gone: session.secret(gone, {own: released[own] for own, view in views.items() if gone not in view}, 4)
        for gone in range(2, 7)
    }
    return np.array_equal(session.opened((0, 1), seeds, scalars), cohort.total([A, B]))


def disjoint_quorums(attacker):
    """Two groups of three open two views; together they give up both secrets of G."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    first = session.release(session.confirm(range(7), [A, B, C]), [A, B, C])
    second = session.release(session.confirm(range(6), [D, E, F]), [D, E, F])
    seed, scalar = session.secret(6, first, 3), session.secret(6, second, 3)
    return np.array_equal(session.payload(6, seed, scalar), attacker.cohort.payloads[G])


def both_shares(attacker):
    """The same sites are asked for the shares of G alive, then for those of G gone."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    helpers = [A, B, C, D]
    first = session.release(session.confirm(range(7), helpers), helpers)
    second = session.release(session.confirm(range(6), helpers), helpers)
    seed, scalar = session.secret(6, first, 4), session.secret(6, second, 4)
    return np.array_equal(session.payload(6, seed, scalar), attacker.cohort.payloads[G])


def second_statement(attacker):
    """Another U3 before R4."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    session.confirm(range(4), [A])
    return bool(session.confirm(range(3), [A]))


def too_few_signers(attacker):
    """One statement is taken for a quorum."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    return bool(session.release(session.confirm(range(4), [A]), [A]))


def forged_statements(attacker):
    """Statements that nobody made."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    signature = session.confirm(range(4), [A])[0]
    return bool(session.release(dict.fromkeys(range(4), signature), [A]))


def signers_outside_u3(attacker):
    """A colluder that is no survivor makes up the quorum."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    signatures = session.confirm((0, 1, 2, 3), [A, B, C])
    statement = attacker.cohort.halves[A]._statement
    signatures[4] = attacker.cohort.identities[E].sign(CONSISTENT, statement)
    return bool(session.release(signatures, [A]))


# --- retries ---


def retry_without_closing(attacker):
    """The sum is opened; then the same model again, without D: the difference is D's payload."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share().mask()
    everybody = first.total(range(4), first.release(first.confirm(range(4), cohort.names), cohort.names))
    second = attacker.open(cohort.opening(attempt=2), [A, B, C]).share().mask()
    rest = second.total(range(3), second.release(second.confirm(range(3), [A, B, C]), [A, B, C]))
    return np.array_equal(everybody - rest, cohort.payloads[D])


def retry_after_masking(attacker):
    """When all have sent their vectors failure is feigned, D is left out of a retry, and both are opened."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share().mask()
    held = dict(cohort.halves)
    second = attacker.open(cohort.opening(attempt=2), [A, B, C]).share().mask()
    again, cohort.halves = cohort.halves, held
    everybody = first.total(range(4), first.release(first.confirm(range(4), cohort.names), cohort.names))
    cohort.halves = again
    rest = second.total(range(3), second.release(second.confirm(range(3), [A, B, C]), [A, B, C]))
    return np.array_equal(everybody - rest, cohort.payloads[D])


def retry_after_release(attacker):
    """The first session is called abandoned, but as its shares have left, nobody closes it."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share().mask()
    everybody = first.total(range(4), first.release(first.confirm(range(4), cohort.names), cohort.names))
    again = cohort.opening(attempt=2, abandoned=(first.agreement.name,))
    second = attacker.open(again, [A, B, C]).share().mask()
    rest = second.total(range(3), second.release(second.confirm(range(3), [A, B, C]), [A, B, C]))
    return np.array_equal(everybody - rest, cohort.payloads[D])


def two_sessions_at_once(attacker):
    """Two attempts are led to R1 before either goes on; then A masks its payload in both."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share()
    held = dict(cohort.halves)
    second = attacker.open(cohort.opening(attempt=2)).share()
    second.mask([A])
    cohort.halves = held
    return bool(first.mask([A]).masked)


def opening_a_closed_session(attacker):
    """Failure is feigned after R3, the sites close the session, and then it is opened after all."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share().mask()
    signatures = first.confirm(range(4), cohort.names)
    old = dict(cohort.halves)
    attacker.open(cohort.opening(attempt=2, abandoned=(first.agreement.name,)))
    cohort.halves = old
    return bool(first.release(signatures, [A]))

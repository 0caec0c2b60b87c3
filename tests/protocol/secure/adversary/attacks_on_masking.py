"""Attacks of a coordinator while shares and masked vectors travel (R2 and R3)."""

from dataclasses import replace

import numpy as np
from attack_tools import A, B, C, D, E, other_model

from sealora.protocol import long_fields
from sealora.protocol import secure_messages as wire
from sealora.protocol.agreement import MASKED, receipt_fields
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.secure_answers import Masked
from sealora.protocol.secure_fields import SEALED_BYTES

# --- R2: deliveries ---


def reflected_shares(attacker):
    """What A sealed for B comes back to A as if B had sealed it."""
    session = attacker.open(attacker.cohort.opening()).share()
    own = session.shares[1].sealed
    session.shares[1] = replace(session.shares[1], sealed=session.sealed(0, 1) + own[SEALED_BYTES:])
    session.mask([A])
    return True


def swapped_shares(attacker):
    """What C sealed for A stands where what B sealed for A should be, and the other way round."""
    session = attacker.open(attacker.cohort.opening()).share()
    request = session.delivery(A)
    first, second, rest = request.sealed[:82], request.sealed[82:164], request.sealed[164:]
    attacker.tell(A, replace(request, sealed=second + first + rest))
    return True


def padded_message(attacker):
    """A true message with a million bytes more, of a field that nobody knows."""
    session = attacker.open(attacker.cohort.opening()).share()
    padding = b"".join(long_fields.field(100, bytes(1_000_000)))
    return isinstance(attacker.tell(A, wire.request(session.delivery(A)) + padding), Masked)


def small_u2(attacker):
    """Only a colluder's masks hide A's payload."""
    session = attacker.open(attacker.cohort.opening()).share()
    return attacker.tell(A, session.delivery(A, (0, 1))) is not None


def excluded_from_u2(attacker):
    """A is to send its masked vector to a session that has dropped it."""
    session = attacker.open(attacker.cohort.opening()).share()
    request = session.delivery(A, (0, 1, 2, 3))
    attacker.tell(A, replace(request, sharers=(1, 2, 3)))
    return True


def phantom_in_u2(attacker):
    """U2 contains a position that U1 has not."""
    session = attacker.open(attacker.cohort.opening()).share()
    request = session.delivery(A)
    attacker.tell(A, replace(request, sharers=(0, 1, 2, 3, 9)))
    return True


def stale_delivery(attacker):
    """The name of another session on an otherwise true message."""
    session = attacker.open(attacker.cohort.opening()).share()
    attacker.tell(A, replace(session.delivery(A), session=bytes(32)))
    return True


# --- R3: survivors ---


def u2_equivocation(attacker):
    """A is told that, besides itself, those shared who will drop out: only their masks hide its payload.

    A U2 that small is filled up with others, up to t.
    """
    session = attacker.open(attacker.cohort.opening()).share()
    others = [4, 5, 3][: session.agreement.threshold - 1]
    session.masked[0] = attacker.tell(A, session.delivery(A, (0, *others)))
    session.mask([B, C, D])
    released = session.release(session.confirm((0, 1, 2, 3), [B, C, D]), [B, C, D])
    seed, *scalars = (session.secret(dealer, released, 3) for dealer in (0, 4, 5))
    payload = session.opened((0,), {0: seed}, dict(zip((4, 5), scalars, strict=True)))
    return np.array_equal(payload, attacker.cohort.payloads[A])


def invented_survivor(attacker):
    """A vector that its site never sent counts as received."""
    session = attacker.open(attacker.cohort.opening()).share().mask([A, B, C])
    session.masked[3] = session.masked[2]
    return bool(session.confirm((0, 1, 2, 3), [A]))


def resurrected_dropout(attacker):
    """A survivor that was not in U2: nobody's vector contains its masks, and no one holds its shares."""
    session = attacker.open(attacker.cohort.opening()).share([A, B, C, D]).mask()
    # E colludes: it signs a receipt for U2 all the same.
    half = attacker.cohort.halves[E]
    receipt = session.masked[3].receipt
    fields = receipt_fields(session.agreement.name, (0, 1, 2, 3), receipt.digest, receipt.head)
    forged = replace(receipt, signature=half._membership.identity.sign(MASKED, *fields))
    session.masked[4] = replace(session.masked[3], receipt=forged)
    return bool(session.confirm((0, 1, 2, 3, 4), [A]))


def small_u3(attacker):
    """Most are said to have dropped out after R2: A's payload would be opened with a colluder's."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    return bool(session.confirm((0, 1), [A]))


def excluded_from_u3(attacker):
    """A is to help opening a sum without A, so that its pairwise masks are uncovered."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    return bool(session.confirm((1, 2, 3), [A]))


def restored_site(attacker):
    """B runs on a copy of its disk from before an attempt that A saw it in, and has forgotten it."""
    cohort = attacker.cohort
    attacker.open(cohort.opening()).share().mask().confirm((0, 1, 2, 3), [A])
    cohort.logs[B] = AttemptLog()
    session = attacker.open(other_model(cohort, attempt=2)).share().mask()
    return bool(session.confirm((0, 1, 2, 3), [A]))

"""Attacks of a coordinator with its headers and its lists of keys (R0 and R1)."""

from dataclasses import replace

import numpy as np
from attack_tools import LOW_ORDER, A, B, C, D, forged_advert, opens, other_model

from sealora.protocol.agreement import ADVERT, header_hash, sign_header
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.keys import ExchangeKey, IdentityKey
from sealora.protocol.secure_answers import Advert
from sealora.protocol.secure_requests import Member

# --- R0: entering ---


def forged_header(attacker):
    """Somebody else than the coordinator opens an attempt."""
    opening = attacker.cohort.opening()
    forged = replace(opening, signature=sign_header(IdentityKey.generate(), opening.header))
    attacker.tell(A, forged)
    return True


def fallback_to_plain(attacker):
    """A header without a roster asks for the payload in clear."""
    attacker.tell(A, attacker.cohort.opening(roster_hash=b""))
    return True


def roster_rollback(attacker):
    """The header names a roster from before a member was removed."""
    attacker.tell(A, attacker.cohort.opening(roster_hash=bytes(31) + b"\1"))
    return True


def sybils(attacker):
    """The cohort is filled up with sites that no operator approved."""
    sites = tuple(sorted((*attacker.cohort.names, "sybil1", "sybil2")))
    attacker.tell(A, attacker.cohort.opening(cohort=sites))
    return True


def not_in_the_cohort(attacker):
    """A site is to train for a cohort without it, where nobody would miss it."""
    attacker.tell(A, attacker.cohort.opening(cohort=(B, C, D)))
    return True


def low_n_min(attacker):
    """A sum of two would do."""
    attacker.tell(A, attacker.cohort.opening(n_min=2))
    return True


def low_colluders(attacker):
    """No site is taken for a colluder, where this one's policy assumes one."""
    attacker.cohort.floors = replace(attacker.cohort.floors, colluders=1)
    attacker.tell(A, attacker.cohort.opening(colluders=0))
    return True


def little_noise(attacker):
    """Less noise than the site's policy asks for."""
    attacker.cohort.floors = replace(attacker.cohort.floors, noise=2.0)
    attacker.tell(A, attacker.cohort.opening(noise=1.0))
    return True


def large_clip(attacker):
    """A larger clip than the site's policy admits."""
    attacker.cohort.floors = replace(attacker.cohort.floors, clip=0.5)
    attacker.tell(A, attacker.cohort.opening(clip=1.0))
    return True


def two_models(attacker):
    """All but A get a model from which nothing can be learnt: their updates are zero, and the sum is A's.

    Pasquini et al. 2022, "Eluding secure aggregation in federated learning via model inconsistency".
    """
    cohort = attacker.cohort
    opening = cohort.opening()
    session = attacker.open(opening, [A])
    for site in (B, C, D):
        cohort.payloads[site] = np.zeros_like(cohort.payloads[site])
        session.adverts[site] = attacker.tell(site, replace(opening, tensors=b"a dead end"))
    session.share().mask()
    signatures = session.confirm(range(4), cohort.names)
    return np.array_equal(
        session.total(range(4), session.release(signatures, cohort.names)), cohort.payloads[A]
    )


def replayed_round(attacker):
    """The same opening again, so that the site answers with other keys."""
    opening = attacker.cohort.opening()
    attacker.tell(A, opening)
    return attacker.tell(A, opening).share_key != b""


def earlier_round(attacker):
    """An opening of a round that is over."""
    attacker.tell(A, attacker.cohort.opening(round=2))
    attacker.tell(A, attacker.cohort.opening(round=1, attempt=9))
    return True


def forked_history(attacker):
    """The next round builds on another result than the one that the site confirmed."""
    session = attacker.open(attacker.cohort.opening()).share().mask()
    session.confirm((0, 1, 2, 3), [A])
    attacker.tell(A, other_model(attacker.cohort, round=2, completed=(1, 1), previous_transcript=bytes(32)))
    return True


# --- R1: keys ---


def key_substitution(attacker):
    """B's keys are replaced by the attacker's, who then reads what A seals for B."""
    session = attacker.open(attacker.cohort.opening())
    own = ExchangeKey.generate()
    session.adverts[B] = forged_advert(session, B, IdentityKey.generate(), own, ExchangeKey.generate())
    session.share([A])
    return opens(session.sealed(0, 1), own.agree(session.adverts[A].share_key), session, A, B)


def stale_adverts(attacker):
    """B's keys of an earlier attempt, of which the attacker has come to know the secrets."""
    earlier = attacker.open(attacker.cohort.opening())
    secret = attacker.cohort.halves[B]._share_key
    session = attacker.open(attacker.cohort.opening(attempt=2))
    session.adverts[B] = earlier.adverts[B]
    session.share([A])
    return opens(session.sealed(0, 1), secret.agree(session.adverts[A].share_key), session, A, B)


def two_headers(attacker):
    """Half of the sites see another header: each signs its own, and the sum would be noise."""
    cohort = attacker.cohort
    session = attacker.open(cohort.opening(), [A, B])
    other = attacker.open(cohort.opening(round=2), [C, D])
    session.adverts |= other.adverts
    session.share([A])
    return True


def own_keys_replaced(attacker):
    """A restarted within the attempt; its keys in the list are those of the process that died."""
    cohort = attacker.cohort
    session = attacker.open(cohort.opening())
    cohort.logs[A] = AttemptLog()
    attacker.tell(A, session.opening)
    return bool(session.share([A]).shares)


def reused_key(attacker):
    """A colluder advertises the mask key of B as its own."""
    session = attacker.open(attacker.cohort.opening())
    signer, copied = attacker.cohort.identities[D], attacker.cohort.halves[B]._mask_key
    session.adverts[D] = forged_advert(session, D, signer, ExchangeKey.generate(), copied)
    return bool(session.share([A]).shares)


def duplicate_id(attacker):
    """B stands in the list twice, under two pairs of keys."""
    session = attacker.open(attacker.cohort.opening())
    again = forged_advert(
        session, B, attacker.cohort.identities[B], ExchangeKey.generate(), ExchangeKey.generate()
    )
    twin = Member(B, again.share_key, again.mask_key, again.signature)
    attacker.tell(A, session.invitation(members=(*session.members[:2], twin, *session.members[2:])))
    return True


def stranger(attacker):
    """A member of the roster whom the header does not name takes part."""
    cohort = attacker.cohort
    session = attacker.open(cohort.opening(cohort=(A, B, C)), [A, B, C])
    session.adverts[D] = forged_advert(
        session, D, cohort.identities[D], ExchangeKey.generate(), ExchangeKey.generate()
    )
    return bool(session.share([A]).shares)


def low_order_key(attacker):
    """A colluder's key makes every secret with it a constant, so that anybody reads B's shares."""
    session = attacker.open(attacker.cohort.opening())
    about, signer = header_hash(session.opening.header), attacker.cohort.identities[D]
    keys = LOW_ORDER, ExchangeKey.generate().public
    session.adverts[D] = Advert(about, *keys, signer.sign(ADVERT, about, D.encode(), *keys))
    session.share([A])
    return opens(session.sealed(0, 3), LOW_ORDER, session, A, D)


def small_u1(attacker):
    """A session of two, one of whom colludes: the sum less the colluder's payload is the victim's."""
    session = attacker.open(attacker.cohort.opening(), [A, B]).share().mask()
    signatures = session.confirm((0, 1), [A, B])
    total = session.total((0, 1), session.release(signatures, [A, B]))
    return np.array_equal(total - attacker.cohort.payloads[B], attacker.cohort.payloads[A])

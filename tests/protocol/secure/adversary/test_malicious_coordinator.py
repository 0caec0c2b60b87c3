"""What a coordinator may try, what an honest site answers, and that each check is what stops it.

Every attack is run twice: against the sites as they are, where one aborts with the failure class
given and no share has left; and with exactly the checks named disabled, where the attack succeeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from sealora.protocol import long_fields
from sealora.protocol import secure_messages as wire
from sealora.protocol.agreement import (
    ABORT,
    ADVERT,
    CONSISTENT,
    MASKED,
    header_hash,
    receipt_fields,
    sealing_data,
    sealing_key,
    sign_header,
)
from sealora.protocol.attempts import AttemptLog, Occasion
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import ExchangeKey, IdentityKey, unseal, verify
from sealora.protocol.messages import Work, model_hash
from sealora.protocol.secure_messages import Advert, Member
from sealora.protocol.secure_site import Aborted, SecureSiteHalf

A, B, C, D, E, F, G = (f"site{number:04}" for number in range(7))
LOW_ORDER = bytes(32)


def other_model(cohort, **changes):
    """An opening of another model than `cohort.opening` gives."""
    return cohort.opening(tensors=b"other", model_hash=model_hash(b"other", ("a",)), **changes)


def forged_advert(session, site, signer, share_key, mask_key):
    """Keys in a site's name, signed by somebody."""
    about = header_hash(session.opening.header)
    keys = share_key.public, mask_key.public
    return Advert(about, *keys, signer.sign(ADVERT, about, site.encode(), *keys))


def opens(sealed, key, session, sender, recipient):
    """Whether the attacker can read what a sender sealed, given the secret that the two share."""
    ends = sender, recipient
    name = session.agreement.name
    try:
        return len(unseal(sealing_key(key, name, *ends), sealed, sealing_data(name, *ends))) == 66
    except ProtocolError:
        return False


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
    """Less noise than the plan promises."""
    attacker.tell(A, attacker.cohort.opening(noise=0.5))
    return True


def large_clip(attacker):
    """A larger clip than the plan's, under which one site's update would show in the sum."""
    attacker.tell(A, attacker.cohort.opening(clip=2.0))
    return True


def other_range(attacker):
    """Another range than the plan's, by which sums would be decoded."""
    attacker.tell(A, attacker.cohort.opening(range=0.5))
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


# --- R2: deliveries ---


def reflected_shares(attacker):
    """What A sealed for B comes back to A as if B had sealed it."""
    session = attacker.open(attacker.cohort.opening()).share()
    own = session.shares[1].sealed
    session.shares[1] = replace(session.shares[1], sealed=session.sealed(0, 1) + own[wire.SEALED_BYTES :])
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
    return isinstance(attacker.tell(A, wire.request(session.delivery(A)) + padding), wire.Masked)


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
    session = attacker.open(other_model(cohort, round=2)).share().mask()
    return bool(session.confirm((0, 1, 2, 3), [A]))


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


def without_d(attacker, **changes):
    """A sum of all is opened, then one without D of another session: the difference is D's payload."""
    cohort = attacker.cohort
    first = attacker.open(cohort.opening()).share().mask()
    everybody = first.total(range(4), first.release(first.confirm(range(4), cohort.names), cohort.names))
    second = attacker.open(cohort.opening(**changes), [A, B, C]).share().mask()
    rest = second.total(range(3), second.release(second.confirm(range(3), [A, B, C]), [A, B, C]))
    return np.array_equal(everybody - rest, cohort.payloads[D])


def retry_without_closing(attacker):
    """The same model again."""
    return without_d(attacker, attempt=2)


def evaluation_after_training(attacker):
    """The model that was trained on is evaluated: the metrics that went along give D's by subtraction."""
    return without_d(attacker, work=Work.EVALUATE, round=2)


def another_model_in_the_round(attacker):
    """Failure is feigned, and the retry's model differs in one bit."""
    return without_d(attacker, attempt=2, tensors=b"tensorr", model_hash=model_hash(b"tensorr", ("a",)))


def evaluation_in_the_round(attacker):
    """The same with an evaluation, whose attempts a site counts apart."""
    other = {"tensors": b"tensorr", "model_hash": model_hash(b"tensorr", ("a",))}
    return without_d(attacker, work=Work.EVALUATE, **other)


def earlier_model(attacker):
    """A later round is about the model of an earlier one."""
    return without_d(attacker, round=2)


def another_run(attacker):
    """The run is begun anew under another name, with the same model."""
    return without_d(attacker, run=b"r" * 16)


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


@dataclass(frozen=True)
class Attack:
    """`disable` are the checks without which it succeeds; `releases` those that are legitimate before."""

    run: Callable[[Any], bool]
    failure: str
    disable: tuple[str, ...]
    sites: int = 4
    options: dict[str, Any] = field(default_factory=dict)
    releases: int = 0


ATTACKS = [
    Attack(forged_header, "forged", ("admission.authenticate",)),
    Attack(fallback_to_plain, "plain", ("admission.check_roster",)),
    Attack(roster_rollback, "wrong_roster", ("admission.check_roster",)),
    Attack(sybils, "stranger", ("admission.check_cohort",)),
    Attack(not_in_the_cohort, "stranger", ("admission.check_cohort",)),
    Attack(low_n_min, "weak", ("admission.check_floors",)),
    Attack(low_colluders, "weak", ("admission.check_floors",)),
    Attack(little_noise, "weak", ("admission.check_bounds",)),
    Attack(large_clip, "weak", ("admission.check_bounds",)),
    Attack(other_range, "weak", ("admission.check_bounds",)),
    Attack(two_models, "wrong_model", ("admission.check_model",)),
    Attack(replayed_round, "replayed", ("attempts.AttemptLog.begin",)),
    Attack(earlier_round, "replayed", ("attempts.AttemptLog.begin",)),
    Attack(forked_history, "forked", ("admission.check_history",)),
    Attack(key_substitution, "forged", ("site_checks.check_signatures",)),
    Attack(stale_adverts, "forged", ("site_checks.check_signatures",)),
    Attack(two_headers, "forged", ("site_checks.check_signatures",)),
    Attack(own_keys_replaced, "substituted", ("site_checks.check_own",)),
    Attack(reused_key, "duplicate", ("site_checks.check_keys",)),
    Attack(duplicate_id, "duplicate", ("site_checks.check_members",)),
    Attack(stranger, "stranger", ("site_checks.check_members",)),
    Attack(low_order_key, "low_order", ()),
    Attack(small_u1, "too_few", ("site_checks.check_size",)),
    Attack(reflected_shares, "tampered", ()),
    Attack(swapped_shares, "tampered", ()),
    Attack(padded_message, "malformed", ("secure_messages._require_limit",)),
    Attack(small_u2, "too_few", ("site_checks.check_size",)),
    Attack(excluded_from_u2, "excluded", ("site_checks.check_sharers",)),
    Attack(phantom_in_u2, "stranger", ("site_checks.check_sharers",)),
    Attack(stale_delivery, "stale", ("site_checks.check_name",)),
    Attack(u2_equivocation, "forged", (), sites=6),
    Attack(invented_survivor, "forged", ("site_checks.check_receipts",)),
    Attack(resurrected_dropout, "resurrected", ("site_checks.check_survivors",), sites=5),
    Attack(small_u3, "too_few", ("site_checks.check_size",)),
    Attack(excluded_from_u3, "excluded", ("site_checks.check_survivors",)),
    Attack(restored_site, "restored", ("attempts.AttemptLog.observe",)),
    Attack(two_survivor_views, "forged", ("site_checks.check_statements",), sites=7),
    Attack(disjoint_quorums, "too_few", (), sites=7),
    Attack(
        both_shares,
        "out_of_order",
        (
            "site_checks.check_phase",
            "attempts.AttemptLog.state",
            "attempts.AttemptLog.release",
            "attempts.AttemptLog.observe",
            "secure_site.SecureSiteHalf._wipe",
        ),
        sites=7,
        releases=4,
    ),
    Attack(
        second_statement,
        "out_of_order",
        ("site_checks.check_phase", "attempts.AttemptLog.state", "attempts.AttemptLog.observe"),
    ),
    Attack(too_few_signers, "too_few", ("site_checks.check_size",)),
    Attack(forged_statements, "forged", ("site_checks.check_statements",)),
    Attack(
        signers_outside_u3,
        "stranger",
        ("site_checks.check_signers",),
        sites=5,
        options={"n_min": 4, "colluders": 1},
    ),
    Attack(
        retry_without_closing,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
        releases=4,
    ),
    Attack(
        evaluation_after_training,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
        releases=4,
    ),
    Attack(
        another_model_in_the_round,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
        releases=4,
    ),
    Attack(
        evaluation_in_the_round,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
        releases=4,
    ),
    Attack(
        earlier_model,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
        releases=4,
    ),
    Attack(another_run, "exhausted", ("admission.check_runs",), releases=4),
    Attack(two_runs_at_once, "exhausted", ("admission.check_runs",)),
    Attack(attempts_without_end, "exhausted", ("admission.check_attempts",)),
    Attack(retry_after_masking, "unclosed", ("admission.check_contributions", "secure_site.require_closed")),
    Attack(retry_after_release, "unclosed", ("secure_site.require_closed",), releases=4),
    Attack(two_sessions_at_once, "unclosed", ("site_checks.check_still_closed",)),
    Attack(opening_a_closed_session, "closed", ()),
]


def named(attack):
    return attack.run.__name__


@pytest.mark.parametrize("attack", ATTACKS, ids=named)
def test_an_honest_site_stops_it(attack, make_attacker):
    attacker = make_attacker(attack.sites, **attack.options)
    with pytest.raises(Aborted) as stopped:
        attack.run(attacker)
    assert stopped.value.failure == attack.failure
    assert len(attacker.releases) == attack.releases
    abort = wire.parse_reply(stopped.value.reply, 4096)
    fields = abort.about, abort.failure.encode(), abort.text.encode(), abort.accused.encode()
    assert abort.failure == attack.failure
    assert signed_by_one(attacker.cohort, abort.signature, fields)


def signed_by_one(cohort, signature, fields):
    """Whether one of the sites signed the abort."""
    for key in cohort.identities.values():
        try:
            verify(key.public, signature, ABORT, *fields)
        except ProtocolError:
            continue
        return True
    return False


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.disable], ids=named)
def test_without_the_checks_it_succeeds(attack, make_attacker, disable):
    disable(*attack.disable)
    assert attack.run(make_attacker(attack.sites, **attack.options))


@pytest.mark.parametrize(
    ("attack", "left_out"),
    [(attack, path) for attack in ATTACKS if len(attack.disable) > 1 for path in attack.disable],
    ids=lambda value: value.rpartition(".")[2] if isinstance(value, str) else named(value),
)
def test_no_check_is_disabled_for_nothing(attack, left_out, make_attacker, disable):
    disable(*(path for path in attack.disable if path != left_out))
    try:
        succeeded = attack.run(make_attacker(attack.sites, **attack.options))
    except (ProtocolError, AttributeError):
        succeeded = False
    assert not succeeded


# --- twins that need more than a check left out ---


def test_low_order_keys_would_open_sealed_shares(make_attacker, monkeypatch):
    exchange = ExchangeKey.agree

    def agree(self, peer):
        return LOW_ORDER if peer == LOW_ORDER else exchange(self, peer)

    monkeypatch.setattr(ExchangeKey, "agree", agree)
    assert low_order_key(make_attacker(4))


def test_shares_could_be_reflected_if_their_key_had_no_direction(make_attacker, monkeypatch):
    for name, derived in (("sealing_key", sealing_key), ("sealing_data", sealing_data)):

        def undirected(*arguments, derived=derived):
            return derived(*arguments[:-2], *sorted(arguments[-2:]))

        monkeypatch.setattr(f"sealora.protocol.secure_site.{name}", undirected)
    assert reflected_shares(make_attacker(4))


def test_shares_could_be_swapped_if_one_key_sealed_them_all(make_attacker, monkeypatch):
    for name, derived in (("sealing_key", sealing_key), ("sealing_data", sealing_data)):

        def common(*arguments, derived=derived):
            agreed = (bytes(32),) if derived is sealing_key else ()
            return derived(*agreed, arguments[-3], "", "")

        monkeypatch.setattr(f"sealora.protocol.secure_site.{name}", common)
    assert swapped_shares(make_attacker(4))


@pytest.fixture
def half_the_sites(monkeypatch):
    """A threshold that leaves two quorums without a site in common."""
    monkeypatch.setattr("sealora.protocol.thresholds.threshold", lambda sites, colluders: sites // 2)


@pytest.mark.usefixtures("half_the_sites")
def test_disjoint_quorums_would_recover_a_payload_at_half_the_sites(make_attacker):
    assert disjoint_quorums(make_attacker(7))


@pytest.mark.usefixtures("half_the_sites")
def test_u2_equivocation_would_recover_a_payload_at_half_the_sites(make_attacker, disable):
    """With the threshold as it is, U2 and the signers are too many; below it, the receipts still hold."""
    with pytest.raises(Aborted) as stopped:
        u2_equivocation(make_attacker(6))
    assert stopped.value.failure == "forged"
    disable("site_checks.check_receipts")
    assert u2_equivocation(make_attacker(6))


@pytest.mark.parametrize(
    ("attack", "meets"),
    [
        (evaluation_after_training, lambda one, other: one.round == other.round),
        (earlier_model, lambda one, other: one.round == other.round),
        (another_model_in_the_round, lambda one, other: one.model == other.model),
        (evaluation_in_the_round, lambda one, other: one.model == other.model),
    ],
)
def test_round_and_model_must_both_count(attack, meets, make_attacker, monkeypatch):
    monkeypatch.setattr(Occasion, "meets", meets)
    assert attack(make_attacker(4))


def test_a_run_that_was_masked_in_must_be_looked_for_again(make_attacker, monkeypatch):
    """Two openings see no run yet: what counts is whether the site masked in another since."""
    monkeypatch.setattr(SecureSiteHalf, "_mask", without_runs(SecureSiteHalf._mask))
    assert two_runs_at_once(make_attacker(4))


def without_runs(mask):
    """R2 in which runs are not counted."""

    def unchecked(self, request):
        self._membership = replace(self._membership, floors=replace(self._membership.floors, runs=9))
        return mask(self, request)

    return unchecked


def test_a_closed_session_could_be_opened_if_closing_were_not_written(make_attacker, monkeypatch):
    monkeypatch.setattr(AttemptLog, "close", lambda self, session: True)
    assert opening_a_closed_session(make_attacker(4))


def test_even_without_the_checks_two_models_make_two_sessions(make_attacker, disable):
    """The session's name covers the header, so that the groups cannot open each other's shares."""
    disable("site_checks.check_signatures", "site_checks.check_name")
    attacker = make_attacker(4)
    cohort = attacker.cohort
    session = attacker.open(cohort.opening(), [A, B])
    session.adverts |= attacker.open(other_model(cohort), [C, D]).adverts
    session.share()
    with pytest.raises(Aborted, match="altered"):
        session.mask()


def test_an_accusation_names_the_peer(make_attacker):
    with pytest.raises(Aborted) as stopped:
        low_order_key(make_attacker(4))
    assert wire.parse_reply(stopped.value.reply, 4096).accused == D


def test_a_site_that_aborted_stays_silent(make_attacker):
    attacker = make_attacker(4)
    session = attacker.open(attacker.cohort.opening()).share()
    with pytest.raises(Aborted):
        attacker.tell(A, b"nonsense")
    with pytest.raises(Aborted) as again:
        attacker.tell(A, session.delivery(A))
    assert again.value.failure == "out_of_order"

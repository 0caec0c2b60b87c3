"""What a site may try, and how the coordinator's half answers: the sum is right or there is none."""

from dataclasses import replace

import numpy as np
import pytest

from sealora.protocol import secure_messages as wire
from sealora.protocol.agreement import (
    ADVERT,
    MASKED,
    RELEASE,
    SHARES,
    header_hash,
    receipt_fields,
    words_digest,
)
from sealora.protocol.errors import AttemptFailed, ProtocolError
from sealora.protocol.keys import ExchangeKey
from sealora.protocol.secure_answers import Abort, Advert, Consistency, Masked, Receipt, Release
from sealora.protocol.unmasking import Unmasking

LIMIT = 1 << 20
ADVERTISE, SHARE, MASK, CHECK, UNMASK = range(5)
LIAR = "site0001"


class Liar:
    """Changes one site's answer in one phase, and signs the change."""

    def __init__(self, cohort, phase, change, liar=LIAR):
        self.cohort, self.phase, self.change, self.liar = cohort, phase, change, liar

    def __call__(self, phase, site, message):
        if (phase, site) != (self.phase, self.liar):
            return message
        answer = self.change(wire.parse_reply(message, LIMIT), self.cohort.identities[site])
        return answer if isinstance(answer, bytes) else wire.reply(answer)


def run(cohort, liar, drops=None):
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    cohort.run(opening, coordinator, drops or {}, tamper=liar)
    return coordinator


def advert_with(share_key=None, mask_key=None):
    def change(advert, identity):
        keys = share_key or advert.share_key, mask_key or advert.mask_key
        signature = identity.sign(ADVERT, advert.header_hash, LIAR.encode(), *keys)
        return replace(advert, share_key=keys[0], mask_key=keys[1], signature=signature)

    return change


def shares_with(commitment=None, sealed=None):
    def change(shares, identity):
        mark, box = (
            commitment or shares.commitment,
            shares.sealed if sealed is None else sealed(shares.sealed),
        )
        signature = identity.sign(SHARES, shares.session, mark, box)
        return replace(shares, commitment=mark, sealed=box, signature=signature)

    return change


def words_with(change_words):
    def change(masked, identity):
        return replace(masked, words=change_words(masked.words))

    return change


def release_with(change_shares):
    def change(release, identity):
        shares = change_shares(release.shares)
        return replace(release, shares=shares, signature=identity.sign(RELEASE, release.session, shares))

    return change


def unsigned(answer, identity):
    if isinstance(answer, Masked):
        return replace(answer, receipt=replace(answer.receipt, signature=bytes(64)))
    return replace(answer, signature=bytes(64))


def of_another_session(answer, identity):
    field = "header_hash" if isinstance(answer, Advert) else "session"
    return replace(answer, **{field: bytes(32)})


def of_another_phase(answer, identity):
    if isinstance(answer, Consistency):
        return Release(answer.session, b"", answer.signature)
    return Consistency(bytes(32), bytes(64))


def equal_keys(advert, identity):
    return advert_with(mask_key=advert.share_key)(advert, identity)


FAULTS = [
    (ADVERTISE, advert_with(share_key=bytes(32)), "low_order"),
    (ADVERTISE, advert_with(mask_key=b"\1" + bytes(31)), "low_order"),
    (ADVERTISE, equal_keys, "duplicate"),
    (ADVERTISE, lambda advert, identity: replace(advert, closures=(bytes(64),)), "malformed"),
    (SHARE, shares_with(sealed=lambda sealed: sealed[:-82]), "malformed"),
    (MASK, words_with(lambda words: words[:-1]), "wrong_dimension"),
    (MASK, words_with(lambda words: words + np.uint64(1)), "forged"),
    (UNMASK, release_with(lambda shares: shares[:-33]), "malformed"),
    *((phase, unsigned, "forged") for phase in range(5)),
    *((phase, of_another_session, "stale") for phase in range(5)),
    *((phase, of_another_phase, "out_of_order") for phase in range(5)),
    *((phase, lambda answer, identity: b"", "malformed") for phase in range(5)),
    *((phase, lambda answer, identity: bytes(70_000), "malformed") for phase in range(5)),
    *((phase, lambda answer, identity: wire.reply(answer)[:-1], "malformed") for phase in range(5)),
]


@pytest.mark.parametrize(("phase", "change", "failure"), FAULTS)
def test_a_fault_is_refused_and_the_site_is_a_culprit(make_cohort, phase, change, failure):
    cohort = make_cohort(4)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    cohort.run(opening, coordinator, until=phase)
    requests = coordinator.requests() if phase else dict.fromkeys(cohort.names, opening)
    for name in cohort.names:
        message = cohort.answer(name, requests[name])
        if name == LIAR:
            lie = Liar(cohort, phase, change)(phase, name, message)
            with pytest.raises(ProtocolError) as refused:
                coordinator.receive(name, lie)
            assert refused.value.failure == failure
        else:
            coordinator.receive(name, message)
    coordinator.advance()
    assert coordinator.culprits == {LIAR}
    # Without the liar the rest of the session goes on.
    for _ in range(phase + 1, 5):
        for name, request in coordinator.requests().items():
            coordinator.receive(name, cohort.answer(name, request))
        coordinator.advance()
    total = coordinator.result()
    assert (LIAR in total.contributors) == (phase > MASK)
    assert np.array_equal(total.words, cohort.total(total.contributors))


def test_the_words_are_checked_against_the_receipt(make_cohort, monkeypatch):
    """Without the check the site could sign one vector and have another one added."""
    monkeypatch.setattr("sealora.protocol.intake.words_digest", lambda words: AlwaysEqual(words.tobytes()))
    cohort = make_cohort(4)
    total = run(cohort, Liar(cohort, MASK, words_with(lambda words: words + np.uint64(1)))).result()
    assert not np.array_equal(total.words, cohort.total(cohort.names))


def test_without_the_dimension_one_word_is_added_everywhere(make_cohort, monkeypatch):
    """NumPy adds a vector of one word to every word of the sum."""
    monkeypatch.setattr("sealora.protocol.intake.require_dimension", lambda *arguments: None)

    def single(masked, identity):
        words = np.ones(1, dtype=np.uint64)
        digest, head = words_digest(words), masked.receipt.head
        fields = receipt_fields(masked.session, range(4), digest, head)
        receipt = Receipt(digest, head, identity.sign(MASKED, *fields))
        return Masked(masked.session, words, receipt)

    cohort = make_cohort(4)
    total = run(cohort, Liar(cohort, MASK, single)).result()
    assert total.contributors == cohort.names
    assert not np.array_equal(total.words, cohort.total(cohort.names))


def test_without_signatures_anybody_spoils_the_sum(make_cohort, monkeypatch):
    """Somebody on the way swaps a vector and the receipt for others that nobody signed."""
    monkeypatch.setattr("sealora.protocol.intake.verify", lambda *arguments: None)
    monkeypatch.setattr("sealora.protocol.site_checks.check_receipts", lambda *arguments: None)

    def forged(masked, identity):
        words = masked.words + np.uint64(1)
        return replace(
            masked, words=words, receipt=Receipt(words_digest(words), masked.receipt.head, bytes(64))
        )

    cohort = make_cohort(4)
    total = run(cohort, Liar(cohort, MASK, forged)).result()
    assert not np.array_equal(total.words, cohort.total(cohort.names))


def test_a_reused_key_is_refused(make_cohort):
    cohort = make_cohort(4)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    coordinator.receive("site0000", cohort.answer("site0000", opening))
    copied = cohort.halves["site0000"]._share_key.public
    message = Liar(cohort, 0, advert_with(share_key=copied))(0, LIAR, cohort.answer(LIAR, opening))
    with pytest.raises(ProtocolError) as refused:
        coordinator.receive(LIAR, message)
    assert refused.value.failure == "duplicate"


@pytest.mark.parametrize("site", ["site0009", "site0000"])
def test_strangers_and_repetitions_are_unexpected(make_cohort, site):
    cohort = make_cohort(4)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    message = cohort.answer("site0000", opening)
    coordinator.receive("site0000", message)
    with pytest.raises(ProtocolError) as refused:
        coordinator.receive(site, message)
    assert refused.value.failure == "unexpected"
    assert coordinator.culprits == frozenset()


# --- wrong commitments and shares ---


class AlwaysEqual(bytes):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = bytes.__hash__


def test_a_wrong_commitment_fails_the_attempt_and_names_the_dealer(make_cohort):
    cohort = make_cohort(4)
    with pytest.raises(AttemptFailed, match=f"{LIAR}'s secret contradict") as failed:
        run(cohort, Liar(cohort, SHARE, shares_with(commitment=bytes(32))))
    assert failed.value.culprits == {LIAR}


def other_shares(shares):
    return bytes(33) + shares[33:]


@pytest.mark.parametrize("drops", [{}, {"site0000": MASK}, {"site0003": MASK}])
def test_a_wrong_share_is_worked_around(make_cohort, drops):
    cohort = make_cohort(5)
    coordinator = run(cohort, Liar(cohort, UNMASK, release_with(lambda shares: bytes(len(shares)))), drops)
    total = coordinator.result()
    assert np.array_equal(total.words, cohort.total(total.contributors))
    assert coordinator.culprits >= {LIAR}


def test_a_liar_is_told_apart_from_those_it_disputes_with(make_cohort):
    cohort = make_cohort(7, colluders=2, n_min=5)
    coordinator = run(cohort, Liar(cohort, UNMASK, release_with(lambda shares: bytes(len(shares)))))
    assert coordinator.culprits == {LIAR}
    assert np.array_equal(coordinator.result().words, cohort.total(cohort.names))


def test_wrong_shares_beyond_repair_fail_the_attempt(make_cohort):
    cohort = make_cohort(4)
    with pytest.raises(AttemptFailed, match="contradict"):
        run(
            cohort, Liar(cohort, UNMASK, release_with(lambda shares: bytes(len(shares)))), {"site0003": CHECK}
        )


def test_without_the_commitment_a_wrong_share_spoils_the_sum(make_cohort, monkeypatch):
    commitment = "sealora.protocol.unmasking.commitment"
    monkeypatch.setattr(commitment, lambda seed, site, session: AlwaysEqual())
    cohort = make_cohort(4)
    total = run(
        cohort, Liar(cohort, UNMASK, release_with(lambda shares: bytes(len(shares))), "site0000")
    ).result()
    assert not np.array_equal(total.words, cohort.total(cohort.names))


def test_shares_that_cannot_be_opened_end_in_an_abort_that_names_their_dealer(make_cohort):
    cohort = make_cohort(5)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    broken = Liar(cohort, SHARE, shares_with(sealed=lambda sealed: bytes(82) + sealed[82:]))
    cohort.run(opening, coordinator, tamper=broken, until=2)
    for name, request in coordinator.requests().items():
        coordinator.receive(name, cohort.answer(name, request))
    assert cohort.aborts["site0000"].failure == "tampered"
    # One of the two lied, and none is assumed to: both are out, and the others go on.
    assert coordinator.culprits == {LIAR, "site0000"}
    coordinator.advance()
    for _ in range(2):
        for name, request in coordinator.requests().items():
            coordinator.receive(name, cohort.answer(name, request))
        coordinator.advance()
    assert np.array_equal(coordinator.result().words, cohort.total(cohort.names[1:]))


@pytest.mark.parametrize(("colluders", "culprits"), [(0, {"site0000", LIAR}), (1, set())])
def test_an_accusation_counts_beyond_the_colluders(make_cohort, colluders, culprits):
    cohort = make_cohort(6, colluders=colluders, n_min=4)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    broken = Liar(cohort, SHARE, shares_with(sealed=lambda sealed: bytes(82) + sealed[82:]))
    cohort.run(opening, coordinator, tamper=broken, until=3)
    assert coordinator.culprits == culprits


def forged_abort(answer, identity):
    return Abort(answer.session, "tampered", "text", "site0002", bytes(64))


def abort_of_another_session(answer, identity):
    return Abort(bytes(32), "tampered", "text", "site0002", bytes(64))


@pytest.mark.parametrize(
    ("change", "failure"), [(forged_abort, "forged"), (abort_of_another_session, "stale")]
)
def test_an_abort_is_checked(make_cohort, change, failure):
    cohort = make_cohort(4)
    with pytest.raises(ProtocolError) as refused:
        run(cohort, Liar(cohort, SHARE, change))
    assert refused.value.failure == failure


def test_unmasking_says_whose_secret_lacks_shares(make_cohort):
    cohort = make_cohort(4)
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=4)
    state, agreement = coordinator._state, coordinator._state.agreement
    unmasking = Unmasking(agreement, state.sharers, state.survivors, dict.fromkeys(range(4), b""), {})
    with pytest.raises(AttemptFailed, match="0 of the 3 sites needed gave up their share of site0000"):
        unmasking.masks()


def test_receipts_bind_the_survivors_to_one_u2(make_cohort):
    cohort = make_cohort(4)

    def other_u2(masked, identity):
        receipt = masked.receipt
        fields = receipt_fields(masked.session, (0, 1, 2), receipt.digest, receipt.head)
        return replace(masked, receipt=replace(receipt, signature=identity.sign(MASKED, *fields)))

    with pytest.raises(ProtocolError) as refused:
        run(cohort, Liar(cohort, MASK, other_u2))
    assert refused.value.failure == "forged"


def test_an_advert_names_the_header_it_answers(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    advert = wire.parse_reply(cohort.answer("site0000", opening), LIMIT)
    assert advert.header_hash == header_hash(opening.header)
    assert ExchangeKey.generate().agree(advert.share_key) != ExchangeKey.generate().agree(advert.share_key)

"""No log and no ledger goes back: what the coordinator remembers of the heads that sites sign."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.protocol.agreement import MASKED, receipt_fields
from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.errors import ProtocolError
from sealora.protocol.heads import HeadBook
from sealora.protocol.keys import verify

KEY, OTHER_KEY = bytes(32), b"\1" * 32
SITE = "site0001"


def head(count, version=0):
    return Head(count, bytes([version]) + count.to_bytes(31, "big"))


def goes_back(before, now):
    return now.count < before.count or (now.count == before.count and now.digest != before.digest)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 1)), max_size=12))
def test_any_history_is_accepted_until_one_of_the_heads_goes_back(steps):
    """A book that is read again from its records refuses the same."""
    records = []
    book = HeadBook(append=records.append)
    last = {True: NO_RECORDS, False: NO_RECORDS}
    broken = False
    for of_log, count, version in steps:
        now = {**last, of_log: head(count, version)}
        broken = broken or any(goes_back(last[which], now[which]) for which in last)
        for kept in (HeadBook(list(records)), book):
            if broken:
                with pytest.raises(ProtocolError, match=r"went back|other ones") as refused:
                    kept.note(SITE, KEY, now[True], now[False])
                assert refused.value.failure == "restored"
            else:
                kept.note(SITE, KEY, now[True], now[False])
        last = now if not broken else last


def test_the_same_heads_again_are_no_rollback():
    """A coordinator that crashed gets the same receipt again."""
    book = HeadBook()
    for _ in range(2):
        book.note(SITE, KEY, head(3), head(5))


def test_a_site_that_went_back_stays_out_even_when_it_has_caught_up():
    records = []
    book = HeadBook(append=records.append)
    book.note(SITE, KEY, head(3), head(5))
    for kept in (book, HeadBook(records), HeadBook(records)):
        for ledger in (head(4), head(9)):
            with pytest.raises(ProtocolError, match="ledger went back from 5 records to 4"):
                kept.note(SITE, KEY, head(6), ledger)
    book.note("site0002", OTHER_KEY, head(1), head(1))


def test_a_new_key_has_a_new_log_but_the_ledger_stays():
    book = HeadBook()
    book.note(SITE, KEY, head(3), head(5))
    book.note(SITE, OTHER_KEY, head(1), head(6))
    with pytest.raises(ProtocolError, match="ledger"):
        book.note(SITE, OTHER_KEY, head(2), head(5))


def test_a_ledger_that_went_back_is_not_added_and_the_others_go_on(make_cohort):
    cohort = make_cohort(4)
    book = HeadBook()
    cohort.ledgers = {name: head(7) for name in cohort.names}
    opening = cohort.opening()
    cohort.run(opening, cohort.coordinator(opening, heads=book))
    cohort.ledgers = {name: head(8) for name in cohort.names} | {SITE: head(6)}
    opening = cohort.opening(round=2, tensors=b"next", model_hash=next_model())
    coordinator = cohort.coordinator(opening, heads=book)
    cohort.run(opening, coordinator, until=2)
    for name, request in coordinator.requests().items():
        answer = cohort.answer(name, request)
        if name == SITE:
            with pytest.raises(ProtocolError, match="ledger went back from 7 records to 6"):
                coordinator.receive(name, answer)
        else:
            coordinator.receive(name, answer)
    coordinator.advance()
    for _ in range(2):
        for name, request in coordinator.requests().items():
            coordinator.receive(name, cohort.answer(name, request))
        coordinator.advance()
    total = coordinator.result()
    assert SITE not in total.contributors
    assert (total.words == cohort.total(total.contributors)).all()
    assert coordinator.culprits == {SITE}


def next_model():
    from sealora.protocol.messages import model_hash

    return model_hash(b"next", ("a",))


def test_the_receipt_is_signed_with_the_ledger(make_cohort):
    cohort = make_cohort(4)
    cohort.ledgers = {name: head(7) for name in cohort.names}
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=3)
    receipt = coordinator._state.receipts[0]
    assert receipt.ledger == head(7)
    signed = coordinator._state.agreement.name, (0, 1, 2, 3), receipt.digest, receipt.head
    public = cohort.identities["site0000"].public
    verify(public, receipt.signature, MASKED, *receipt_fields(*signed, head(7)))
    for other in (head(6), head(7, version=1)):
        with pytest.raises(ProtocolError, match="signature"):
            verify(public, receipt.signature, MASKED, *receipt_fields(*signed, other))

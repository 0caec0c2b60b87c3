"""Ledgers under hypothesis: whatever was charged and wherever a kill cut the file, nothing comes back."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_files import file_head

from sealora.privacy.accountants import RdpAccountant
from sealora.privacy.events import (
    Budget,
    Composition,
    DistributedDiscreteGaussian,
    GaussianRelease,
    PoissonSampledGaussian,
    canonical_json,
    from_json,
    to_json,
)
from sealora.privacy.ledger import ChargeKey, Ledger, read_charges
from sealora.protocol.errors import BudgetError, DataError, ProtocolError
from sealora.protocol.heads import HeadBook

PLENTY = Budget(1e6, 1e-5)
SITE_KEY = bytes(32)

REALS = st.floats(0.5, 100)
ATOMS = st.one_of(
    st.builds(GaussianRelease, REALS),
    st.builds(PoissonSampledGaussian, REALS, st.floats(1e-3, 1.0), st.integers(1, 50)),
    st.builds(
        DistributedDiscreteGaussian, REALS, st.integers(1, 99), st.integers(1, 99), st.integers(1, 10**6)
    ),
)
EVENTS = st.recursive(
    ATOMS,
    lambda inner: st.builds(
        Composition, st.lists(inner, min_size=1, max_size=3).map(tuple), st.integers(1, 9)
    ),
    max_leaves=4,
)
RUNS = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())


@settings(deadline=None, max_examples=100)
@given(EVENTS)
def test_an_event_survives_its_line(event):
    line = canonical_json(to_json(event))
    assert from_json(json.loads(line)) == event
    assert canonical_json(event) == line


@pytest.fixture(scope="module", autouse=True)
def no_syncing():
    """Hundreds of ledgers are written here, and none has to outlive the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Counting:
    """ε is the number of charges."""

    name, relation = "counting", "add-remove"

    def epsilon(self, events, delta):
        return float(len(list(events)))

    def delta(self, events, epsilon):
        return 0.0


def opened(path: Path) -> Ledger:
    return Ledger(path, "notes", "record", Counting())


def charge_all(path: Path, charges):
    """The size of the file and the head after its header and after each charge."""
    with opened(path) as ledger:
        states = [(path.stat().st_size, ledger.counted_head)]
        for number, (run, event) in enumerate(charges):
            ledger.charge(ChargeKey(run, number, 1), event, PLENTY)
            states.append((path.stat().st_size, ledger.counted_head))
    return states


CHARGES = st.lists(st.tuples(RUNS, EVENTS), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(CHARGES, st.data())
def test_a_kill_in_the_last_line_loses_no_charge_that_was_returned(tmp_path_factory, charges, data):
    """A SIGKILL leaves any beginning of the line being written: that charge had not been returned."""
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    states = charge_all(path, charges)
    before, after = states[-2][0], states[-1][0]
    cut = data.draw(st.integers(before, after), "bytes left")
    path.write_bytes(path.read_bytes()[:cut])
    with opened(path) as ledger:
        kept = len(ledger.charges)
        assert kept in (len(charges) - 1, len(charges))
        assert [(c.key.run, c.event) for c in ledger.charges] == charges[:kept]
        # The charge counts as soon as all of it but the newline is there, and never half.
        assert (kept == len(charges)) == (cut >= after - 1)
        assert ledger.counted_head == states[kept][1]
        assert ledger.spent(1e-5) >= len(charges) - 1
        with pytest.raises(BudgetError):
            ledger.charge(ChargeKey("more", 0, 1), GaussianRelease(1), Budget(kept + 0.5, 1e-5))
        assert file_head(path) == ledger.head


@settings(deadline=None, max_examples=60)
@given(CHARGES, st.data())
def test_a_cut_anywhere_is_mended_or_refused_and_a_lost_charge_shows_in_the_heads(
    tmp_path_factory, charges, data
):
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    states = charge_all(path, charges)
    book = HeadBook()
    book.note("site", SITE_KEY, states[-1][1], states[-1][1])
    cut = data.draw(st.integers(0, states[-1][0] - 1), "bytes left")
    path.write_bytes(path.read_bytes()[:cut])
    with opened(path) as ledger:
        kept = len(ledger.charges)
        assert [(c.key.run, c.event) for c in ledger.charges] == charges[:kept]
        # Whoever noted the head sees what is missing, also after as many new charges as were lost.
        for number in range(len(charges) - kept):
            signed = ledger.counted_head
            with pytest.raises(ProtocolError, match="went back"):
                copy_of(book).note("site", SITE_KEY, signed, signed)
            ledger.charge(ChargeKey("later", number, 1), GaussianRelease(1), PLENTY)
        if kept < len(charges):
            with pytest.raises(ProtocolError, match="other ones"):
                copy_of(book).note("site", SITE_KEY, states[-1][1], ledger.counted_head)


def copy_of(book: HeadBook) -> HeadBook:
    """A book with the same memory, which a refusal does not change."""
    records = []
    fresh = HeadBook(append=records.append)
    for site, ledger in book._ledgers.items():
        fresh.note(site, SITE_KEY, book._logs[SITE_KEY.hex()], ledger)
    return fresh


@settings(deadline=None, max_examples=60)
@given(CHARGES, st.data())
def test_a_flipped_bit_is_refused(tmp_path_factory, charges, data):
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    charge_all(path, charges)
    written = path.read_bytes()
    place = data.draw(st.integers(0, len(written) - 1), "place")
    bit = data.draw(st.integers(0, 7), "bit")
    damaged = written[:place] + bytes([written[place] ^ 1 << bit]) + written[place + 1 :]
    path.write_bytes(damaged)
    with pytest.raises(DataError):
        opened(path)
    assert path.read_bytes() == damaged


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(CHARGES, st.floats(0.5, 5))
def test_what_is_charged_never_exceeds_the_budget(tmp_path_factory, charges, budget):
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    accountant = RdpAccountant()
    with Ledger(path, "notes", "record", accountant) as ledger:
        for number, (run, event) in enumerate(charges):
            before = ledger.charges
            try:
                ledger.charge(ChargeKey(run, number, 1), event, Budget(budget, 1e-5))
            except BudgetError:
                assert accountant.epsilon([*(c.event for c in before), event], 1e-5) > budget
                assert ledger.charges == before
        assert ledger.spent(1e-5) <= budget
        kept = ledger.charges
    assert tuple(read_charges(path)) == kept

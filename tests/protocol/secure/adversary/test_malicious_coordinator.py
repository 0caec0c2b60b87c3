"""What a coordinator may try, what an honest site answers, and that each check is what stops it.

Every attack is run twice: against the sites as they are, where one aborts with the failure class
given and no share has left; and with exactly the checks named disabled, where the attack succeeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import attacks_on_entry as entry
import attacks_on_masking as masking
import attacks_on_release as release
import pytest
from attack_tools import LOW_ORDER, A, B, C, D, other_model

from sealora.protocol import secure_messages as wire
from sealora.protocol.agreement import ABORT, sealing_data, sealing_key
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import ExchangeKey, verify
from sealora.protocol.secure_site import Aborted


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
    Attack(entry.forged_header, "forged", ("admission.authenticate",)),
    Attack(entry.fallback_to_plain, "plain", ("admission.check_roster",)),
    Attack(entry.roster_rollback, "wrong_roster", ("admission.check_roster",)),
    Attack(entry.sybils, "stranger", ("admission.check_cohort",)),
    Attack(entry.not_in_the_cohort, "stranger", ("admission.check_cohort",)),
    Attack(entry.low_n_min, "weak", ("admission.check_floors",)),
    Attack(entry.low_colluders, "weak", ("admission.check_floors",)),
    Attack(entry.little_noise, "weak", ("admission.check_floors",)),
    Attack(entry.large_clip, "weak", ("admission.check_floors",)),
    Attack(entry.two_models, "wrong_model", ("admission.check_model",)),
    Attack(entry.replayed_round, "replayed", ("attempts.AttemptLog.begin",)),
    Attack(entry.earlier_round, "replayed", ("attempts.AttemptLog.begin",)),
    Attack(entry.forked_history, "forked", ("admission.check_history",)),
    Attack(entry.key_substitution, "forged", ("site_checks.check_signatures",)),
    Attack(entry.stale_adverts, "forged", ("site_checks.check_signatures",)),
    Attack(entry.two_headers, "forged", ("site_checks.check_signatures",)),
    Attack(entry.own_keys_replaced, "substituted", ("site_checks.check_own",)),
    Attack(entry.reused_key, "duplicate", ("site_checks.check_keys",)),
    Attack(entry.duplicate_id, "duplicate", ("site_checks.check_members",)),
    Attack(entry.stranger, "stranger", ("site_checks.check_members",)),
    Attack(entry.low_order_key, "low_order", ()),
    Attack(entry.small_u1, "too_few", ("site_checks.check_size",)),
    Attack(masking.reflected_shares, "tampered", ()),
    Attack(masking.swapped_shares, "tampered", ()),
    Attack(masking.padded_message, "malformed", ("secure_messages._require_limit",)),
    Attack(masking.small_u2, "too_few", ("site_checks.check_size",)),
    Attack(masking.excluded_from_u2, "excluded", ("site_checks.check_sharers",)),
    Attack(masking.phantom_in_u2, "stranger", ("site_checks.check_sharers",)),
    Attack(masking.stale_delivery, "stale", ("site_checks.check_name",)),
    Attack(masking.u2_equivocation, "forged", (), sites=6),
    Attack(masking.invented_survivor, "forged", ("site_checks.check_receipts",)),
    Attack(masking.resurrected_dropout, "resurrected", ("site_checks.check_survivors",), sites=5),
    Attack(masking.small_u3, "too_few", ("site_checks.check_size",)),
    Attack(masking.excluded_from_u3, "excluded", ("site_checks.check_survivors",)),
    Attack(masking.restored_site, "restored", ("attempts.AttemptLog.observe",)),
    Attack(release.two_survivor_views, "forged", ("site_checks.check_statements",), sites=7),
    Attack(release.disjoint_quorums, "too_few", (), sites=7),
    Attack(
        release.both_shares,
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
        release.second_statement,
        "out_of_order",
        ("site_checks.check_phase", "attempts.AttemptLog.state", "attempts.AttemptLog.observe"),
    ),
    Attack(release.too_few_signers, "too_few", ("site_checks.check_size",)),
    Attack(release.forged_statements, "forged", ("site_checks.check_statements",)),
    Attack(
        release.signers_outside_u3,
        "stranger",
        ("site_checks.check_signers",),
        sites=5,
        options={"n_min": 4, "colluders": 1},
    ),
    Attack(
        release.retry_without_closing,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
        releases=4,
    ),
    Attack(
        release.retry_after_masking,
        "unclosed",
        ("admission.check_contributions", "secure_site.require_closed"),
    ),
    Attack(release.retry_after_release, "unclosed", ("secure_site.require_closed",), releases=4),
    Attack(release.two_sessions_at_once, "unclosed", ("site_checks.check_still_closed",)),
    Attack(release.opening_a_closed_session, "closed", ()),
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
    assert entry.low_order_key(make_attacker(4))


def test_shares_could_be_reflected_if_their_key_had_no_direction(make_attacker, monkeypatch):
    for name, derived in (("sealing_key", sealing_key), ("sealing_data", sealing_data)):

        def undirected(*arguments, derived=derived):
            return derived(*arguments[:-2], *sorted(arguments[-2:]))

        monkeypatch.setattr(f"sealora.protocol.secure_site.{name}", undirected)
    assert masking.reflected_shares(make_attacker(4))


def test_shares_could_be_swapped_if_one_key_sealed_them_all(make_attacker, monkeypatch):
    for name, derived in (("sealing_key", sealing_key), ("sealing_data", sealing_data)):

        def common(*arguments, derived=derived):
            agreed = (bytes(32),) if derived is sealing_key else ()
            return derived(*agreed, arguments[-3], "", "")

        monkeypatch.setattr(f"sealora.protocol.secure_site.{name}", common)
    assert masking.swapped_shares(make_attacker(4))


@pytest.fixture
def half_the_sites(monkeypatch):
    """A threshold that leaves two quorums without a site in common."""
    monkeypatch.setattr("sealora.protocol.thresholds.threshold", lambda sites, colluders: sites // 2)


@pytest.mark.usefixtures("half_the_sites")
def test_disjoint_quorums_would_recover_a_payload_at_half_the_sites(make_attacker):
    assert release.disjoint_quorums(make_attacker(7))


@pytest.mark.usefixtures("half_the_sites")
def test_u2_equivocation_would_recover_a_payload_at_half_the_sites(make_attacker, disable):
    """With the threshold as it is, U2 and the signers are too many; below it, the receipts still hold."""
    with pytest.raises(Aborted) as stopped:
        masking.u2_equivocation(make_attacker(6))
    assert stopped.value.failure == "forged"
    disable("site_checks.check_receipts")
    assert masking.u2_equivocation(make_attacker(6))


def test_a_closed_session_could_be_opened_if_closing_were_not_written(make_attacker, monkeypatch):
    monkeypatch.setattr(AttemptLog, "close", lambda self, session: True)
    assert release.opening_a_closed_session(make_attacker(4))


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
        entry.low_order_key(make_attacker(4))
    assert wire.parse_reply(stopped.value.reply, 4096).accused == D


def test_a_site_that_aborted_stays_silent(make_attacker):
    attacker = make_attacker(4)
    session = attacker.open(attacker.cohort.opening()).share()
    with pytest.raises(Aborted):
        attacker.tell(A, b"nonsense")
    with pytest.raises(Aborted) as again:
        attacker.tell(A, session.delivery(A))
    assert again.value.failure == "out_of_order"

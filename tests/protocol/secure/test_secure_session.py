"""The sum is the plaintext sum for every dropout pattern, and there is none below the thresholds."""

from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealora.protocol import secure_messages
from sealora.protocol.errors import AttemptFailed, AttemptPending, ProtocolError
from sealora.protocol.plain import PlainCoordinatorHalf, PlainSiteHalf
from sealora.protocol.thresholds import floor, smallest_n_min, threshold

UNMASK, NEVER = 4, 5


def failing_phase(cohort, drops):
    """The phase in which too few sites are left for it to close; 5 if there is none."""
    present = [sum(drop > phase for drop in drops) for phase in range(5)]
    least = floor(present[0], cohort.colluders, cohort.n_min)
    needed = threshold(present[0], cohort.colluders)
    short = (count < (least if phase < 3 else needed) for phase, count in enumerate(present))
    return next((phase for phase, fails in enumerate(short) if fails), NEVER)


def patterns(cohort):
    """Every pattern of (site, phase of dropout); those that differ only after the failure, once."""
    everything = product(range(NEVER + 1), repeat=len(cohort.names))
    return sorted(
        {tuple(min(drop, failing_phase(cohort, drops) + 1) for drop in drops) for drops in everything}
    )


def check(cohort, drops):
    cohort.restart()
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    by_name = dict(zip(cohort.names, drops, strict=True))
    if failing_phase(cohort, drops) < NEVER:
        # Once shares have left, the session waits for the others instead of being given up.
        expected = AttemptPending if failing_phase(cohort, drops) == UNMASK else AttemptFailed
        with pytest.raises(expected):
            cohort.run(opening, coordinator, by_name)
        with pytest.raises(RuntimeError):
            coordinator.result()
        return
    total = cohort.run(opening, coordinator, by_name).result()
    alive = [name for name, drop in by_name.items() if drop > 2]
    assert total.contributors == tuple(alive)
    assert np.array_equal(total.words, cohort.total(alive))


def check_all(cohort):
    for drops in patterns(cohort):
        check(cohort, drops)


def test_every_dropout_pattern_of_three_sites(make_cohort):
    check_all(make_cohort(3))


@pytest.mark.slow
@pytest.mark.usefixtures("remember_signatures", "stock_of_keys")
@pytest.mark.parametrize(("count", "colluders"), [(4, 0), (4, 1), (5, 0), (5, 1), (6, 3)])
def test_every_dropout_pattern(make_cohort, count, colluders):
    check_all(make_cohort(count, colluders=colluders, n_min=smallest_n_min(colluders)))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("remember_signatures", "stock_of_keys")
@pytest.mark.parametrize("colluders", [0, 1, 2])
def test_every_dropout_pattern_of_six_sites(make_cohort, colluders):
    check_all(make_cohort(6, colluders=colluders, n_min=smallest_n_min(colluders)))


@pytest.mark.slow
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_dropout_patterns_of_larger_cohorts(make_cohort, data):
    count = data.draw(st.integers(7, 14))
    colluders = data.draw(st.integers(0, count // 3))
    phases = st.sampled_from([NEVER] * 12 + list(range(NEVER)))
    drops = data.draw(st.lists(phases, min_size=count, max_size=count))
    check(make_cohort(count, colluders=colluders, n_min=smallest_n_min(colluders)), drops)


@pytest.mark.parametrize(
    ("count", "drops"), [(7, {}), (7, {"site0001": 1, "site0004": 3}), (9, {"site0000": 3})]
)
def test_some_dropouts_of_larger_cohorts(make_cohort, count, drops):
    cohort = make_cohort(count, colluders=1, n_min=4)
    check(cohort, [drops.get(name, NEVER) for name in cohort.names])


def test_secure_and_plain_sums_are_equal(make_cohort):
    cohort = make_cohort(4, words=1000)
    opening = cohort.opening()
    plain = PlainCoordinatorHalf(opening.header)
    for name in cohort.names:
        plain.receive(name, PlainSiteHalf(opening).start(cohort.payloads[name]))
    plain.advance()
    secure = cohort.run(opening, cohort.coordinator(opening)).result()
    assert np.array_equal(secure.words, plain.result().words)
    assert secure.contributors == plain.result().contributors


@pytest.mark.parametrize("threads", [1, 3])
def test_a_long_vector_with_a_dropout(make_cohort, threads):
    cohort = make_cohort(4, words=70_000)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening, threads=threads)
    total = cohort.run(opening, coordinator, {"site0002": 2}).result()
    assert np.array_equal(total.words, cohort.total(total.contributors))
    assert len(total.contributors) == 3


def test_the_quorum_of_the_header_can_only_raise_the_floor(make_cohort):
    cohort = make_cohort(5, n_min=3)
    opening = cohort.opening(quorum=5)
    with pytest.raises(AttemptFailed, match="5 are needed"):
        cohort.run(opening, cohort.coordinator(opening), {"site0001": 2})


def test_phases_have_the_names_that_observers_show(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    names = [coordinator.phase]
    for until in range(1, 5):
        cohort = make_cohort(3)
        names.append(cohort.run(opening, cohort.coordinator(opening), until=until).phase)
    assert names == ["train", "share", "mask", "check", "unmask"]


def test_the_adversary_is_known_from_the_start(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    assert coordinator.adversary == "malicious"
    with pytest.raises(RuntimeError):
        _ = coordinator.transcript
    assert cohort.run(opening, coordinator).adversary == "malicious"


def test_a_finished_session_asks_for_nothing(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening))
    before = coordinator.result().words.copy()
    coordinator.advance()
    assert coordinator.requests() == {}
    assert coordinator.abandoned == ()
    assert np.array_equal(coordinator.result().words, before)


def test_the_payload_handed_over_is_not_touched(make_cohort):
    cohort = make_cohort(3)
    before = {name: words.copy() for name, words in cohort.payloads.items()}
    opening = cohort.opening()
    cohort.run(opening, cohort.coordinator(opening))
    assert all(np.array_equal(before[name], cohort.payloads[name]) for name in cohort.names)


def test_resends_are_the_same_bytes(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    cohort.run(opening, coordinator, until=1)
    for _ in range(4):
        requests = coordinator.requests()
        for name, request in requests.items():
            first = cohort.answer(name, request)
            assert cohort.answer(name, request) == first
            coordinator.receive(name, first)
        coordinator.advance()
    assert np.array_equal(coordinator.result().words, cohort.total(cohort.names))


def test_masked_words_are_uniform_and_differ_from_the_payload(make_cohort):
    cohort = make_cohort(3, words=4096)
    cohort.payloads = {name: np.zeros(4096, dtype=np.uint64) for name in cohort.names}
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=2)
    for name, request in coordinator.requests().items():
        masked = secure_messages.parse_reply(cohort.answer(name, request), 10**6)
        counts = np.bincount(masked.words.view(np.uint8), minlength=256)
        chi_squared = ((counts - 128) ** 2 / 128).sum()
        # 255 degrees of freedom: mean 255, standard deviation 22.6; beyond 400 once in 10^8.
        assert chi_squared < 400


def test_no_message_contains_a_payload(make_cohort):
    cohort = make_cohort(4, words=64)
    transcript = []

    def record(phase, site, message):
        transcript.append(message)
        return message

    opening = cohort.opening()
    cohort.run(opening, cohort.coordinator(opening), {"site0003": 3}, tamper=record)
    recorded = b"".join(transcript)
    assert len(recorded) > 4 * 64 * 8
    for words in cohort.payloads.values():
        raw = words.tobytes()
        assert not any(raw[start : start + 8] in recorded for start in range(0, len(raw), 8))


@pytest.mark.parametrize(("count", "colluders"), [(4, 0), (5, 1), (7, 2)])
def test_one_share_too_few_opens_nothing(make_cohort, count, colluders):
    cohort = make_cohort(count, colluders=colluders, n_min=smallest_n_min(colluders))
    needed = threshold(count, colluders)
    for releasers in (needed - 1, needed):
        cohort.restart()
        opening = cohort.opening()
        drops = dict.fromkeys(cohort.names[releasers:], 4)
        coordinator = cohort.coordinator(opening)
        if releasers < needed:
            with pytest.raises(AttemptPending, match=f"{needed} are needed"):
                cohort.run(opening, coordinator, drops)
        else:
            assert np.array_equal(
                cohort.run(opening, coordinator, drops).result().words, cohort.total(cohort.names)
            )


def test_secrets_are_gone_after_the_last_phase_and_after_a_failure(make_cohort):
    cohort = make_cohort(3)
    opening = cohort.opening()
    cohort.run(opening, cohort.coordinator(opening), until=3)
    half = cohort.halves["site0000"]
    assert "_held" in vars(half)
    assert not {"_seed", "_mask_key", "_share_key", "_pair_keys"} & set(vars(half))
    with pytest.raises(ProtocolError):
        half.receive(b"nonsense")
    assert "_held" not in vars(half)


@pytest.mark.slow
@pytest.mark.usefixtures("remember_signatures")
def test_a_cohort_of_240_works_along_a_sparse_graph(make_cohort):
    sparse(make_cohort(240, colluders=12, n_min=228, words=2))


def test_a_sparse_graph_among_few(make_cohort, monkeypatch):
    monkeypatch.setattr("sealora.protocol.graph.COMPLETE_UP_TO", 10)
    sparse(make_cohort(40, n_min=38, words=2))


def sparse(cohort):
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    drops = {"site0017": 2, "site0009": 1, "site0030": 4}
    total = cohort.run(opening, coordinator, drops).result()
    assert len(total.contributors) == len(cohort.names) - 2
    assert np.array_equal(total.words, cohort.total(total.contributors))
    assert coordinator.adversary == "semi-honest"
    half = cohort.halves["site0000"]
    assert len(half._agreement.holders[0]) < len(cohort.names)


def test_the_statements_of_t_sites_are_enough(make_cohort):
    cohort = make_cohort(7, colluders=1, n_min=4)
    opening = cohort.opening()
    coordinator = cohort.run(opening, cohort.coordinator(opening), until=4)
    requests = coordinator.requests()
    assert sorted(requests) == sorted(cohort.names)
    assert len(secure_messages.parse_request(requests["site0006"], 10**6).signers) == threshold(7, 1)

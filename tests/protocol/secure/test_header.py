"""The fields of a header that a secure session adds, and their bounds."""

import pytest

from sealora.protocol import messages_pb2 as wire
from sealora.protocol.errors import ProtocolError
from sealora.protocol.messages import Header, Open, parse_request, request


def test_a_secure_header_survives_its_bytes(make_cohort):
    header = make_cohort(4).header(
        previous_transcript=b"t" * 32, abandoned=(b"a" * 32, b"b" * 32), completed=(1, 2), noise=0.5
    )
    assert header.secure
    assert Header.parse(header.serialise()) == header


def test_each_member_finds_its_last_contribution(make_cohort):
    header = make_cohort(4).header(contributed=((0, 0), (3, 1), (2, 7), (0, 0)))
    parsed = Header.parse(header.serialise())
    assert [parsed.last_contribution(site) for site in parsed.cohort] == list(header.contributed)
    assert make_cohort(4).header().last_contribution(header.cohort[0]) == (0, 0)


def test_contributions_are_as_many_as_the_cohort(make_cohort):
    raw = make_cohort(4).header().serialise()
    for rounds, attempts in (([1] * 3, [1] * 3), ([1] * 4, [1] * 3), ([1] * 5, [1] * 5), ([], [1])):
        message = wire.Header.FromString(raw)
        message.contributed_rounds.extend(rounds)
        message.contributed_attempts.extend(attempts)
        with pytest.raises(ProtocolError, match="not those of the cohort"):
            Header.parse(message.SerializeToString())


def test_a_header_without_a_roster_is_plain(make_cohort):
    assert not make_cohort(4).header(roster_hash=b"").secure


def test_an_opening_carries_its_signature():
    opening = Open(b"header", b"tensors", ("a",), b"s" * 64)
    assert parse_request(request(opening)) == opening
    with pytest.raises(ProtocolError, match="not 64 bytes"):
        parse_request(request(Open(b"header", b"tensors", (), b"short")))


@pytest.mark.parametrize(
    "change",
    [
        {"colluders": 5},
        {"n_min": 5},
        {"roster_hash": b"short"},
        {"previous_transcript": b"short"},
        {"clip": float("nan")},
        {"range": float("inf")},
        {"noise": -1.0},
        {"abandoned": (b"short",)},
        {"abandoned": (b"a" * 32, b"a" * 32)},
        {"abandoned": tuple(bytes([number]) * 32 for number in range(65))},
    ],
)
def test_fields_out_of_bounds_are_refused(make_cohort, change):
    header = make_cohort(4).header(**change)
    with pytest.raises(ProtocolError) as refused:
        Header.parse(header.serialise())
    assert refused.value.failure == "malformed"

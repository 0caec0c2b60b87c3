"""Long fields: protobuf's own bytes, and nothing read that protobuf would read differently."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora.protocol import long_fields, messages, messages_pb2, secure_messages, secure_messages_pb2
from sealora.protocol.attempts import Head
from sealora.protocol.errors import ProtocolError
from sealora.protocol.secure_answers import Masked, Receipt

RECEIPT = Receipt(b"d" * 32, Head(7, b"h" * 32), b"s" * 64)


def masked(count):
    words = np.arange(count, dtype=np.uint64) * np.uint64(2**57 + 1)
    return Masked(b"n" * 32, words, RECEIPT)


def by_protobuf(answer):
    body = secure_messages_pb2.Masked(
        session=answer.session, words=answer.words.tobytes(), receipt=answer.receipt.to_wire()
    )
    return secure_messages_pb2.SecureReply(masked=body).SerializeToString(deterministic=True)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 2000, 40_000])
def test_the_bytes_are_those_of_protobuf(count):
    answer = masked(count)
    raw = secure_messages.reply(answer)
    assert raw == by_protobuf(answer)
    assert messages.reply(raw) == messages_pb2.Reply(session=raw).SerializeToString(deterministic=True)
    plain = messages.contribution(b"h" * 32, answer.words)
    contribution = messages_pb2.Contribution(header_hash=b"h" * 32, words=answer.words.tobytes())
    assert plain == contribution.SerializeToString(deterministic=True)


def test_a_vector_is_read_where_it_stands():
    raw = messages.reply(secure_messages.reply(masked(100)))
    found = secure_messages.parse_reply(messages.parse_reply(raw), len(raw))
    assert np.shares_memory(found.words, np.frombuffer(raw, dtype=np.uint8))
    assert np.array_equal(found.words, masked(100).words)
    assert (found.session, found.receipt) == (b"n" * 32, RECEIPT)


def in_another_order(answer):
    """The same message as protobuf may write it, too: fields in any order, the last one counting."""
    content = (
        *long_fields.field(2, b"overruled"),
        *long_fields.field(3, answer.receipt.to_wire().SerializeToString()),
        *long_fields.field(2, answer.words.tobytes()),
        *long_fields.field(1, answer.session),
    )
    return b"".join(long_fields.field(3, *content))


def test_an_unusual_encoding_is_left_to_protobuf():
    answer = masked(10)
    raw = in_another_order(answer)
    assert raw != by_protobuf(answer)
    found = secure_messages.parse_reply(raw, len(raw))
    assert np.array_equal(found.words, answer.words)
    assert found.receipt == RECEIPT


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_vector_that_is_cut_off_is_refused(cut):
    raw = secure_messages.reply(masked(10))
    with pytest.raises(ProtocolError) as refused:
        secure_messages.parse_reply(raw[:-cut], len(raw))
    assert refused.value.failure == "malformed"


FIELDS = st.dictionaries(st.integers(1, 2**20), st.binary(max_size=300), max_size=5)


@given(FIELDS)
def test_what_is_written_is_read(fields):
    raw = b"".join(part for number, content in fields.items() for part in long_fields.field(number, content))
    assert long_fields.split(raw) == fields


@given(st.binary(max_size=60))
def test_whatever_is_split_is_what_protobuf_reads(raw):
    """No bytes are read as a reply's only field that protobuf would read as something else."""
    fields = long_fields.split(raw)
    if fields is not None and set(fields) == {1}:
        message = messages_pb2.Reply.FromString(raw)
        assert message.WhichOneof("body") == "session"
        assert message.session == fields[1]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x08\x01",  # a number
        b"\x0a\x02a",  # too short
        b"\x0a",  # no length
        b"\x0a\xff\xff\xff\xff\xff\x01",  # a length that does not end
        b"\x0a\x01a\x0a\x01b",  # twice
        b"\x0b",  # a group
    ],
)
def test_what_cannot_be_followed_is_left_alone(raw):
    assert long_fields.split(raw) is None

"""Frames keep what they carry, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealora.protocol import frames
from sealora.protocol import link_pb2 as wire
from sealora.protocol.errors import ProtocolError
from sealora.protocol.frames import MAX_FRAME_BYTES, PART_BYTES, Credit, Hello, Part, Welcome

ID = bytes(range(16))
DIGEST = bytes(32)


@pytest.mark.parametrize(
    "frame",
    [
        Hello("süd", ID, (2, 1)),
        Welcome(1, DIGEST),
        Part(ID, 5, 0, b"abc"),
        Part(ID, 5, 3, b"de", DIGEST),
        Part(ID, 2**31 - 1, 2**31 - 1 - PART_BYTES, bytes(PART_BYTES), DIGEST),
        Credit(ID, 3, 2**31 - 1),
    ],
)
def test_a_frame_comes_back_as_it_was(frame):
    raw = frame.serialise()
    assert len(raw) <= MAX_FRAME_BYTES
    assert frames.parse(raw) == frame


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Part(ID[1:], 5, 0, b"abc"), "16 bytes"),
        (Part(ID, 2, 0, b"abc"), "beyond"),
        (Part(ID, 5, 2**64 - 2, b"abc"), "beyond"),
        (Part(ID, 2**31, 0, b"abc"), "too long"),
        (Part(ID, 0, 0, b""), "empty"),
        (Part(ID, 5, 0, b""), "empty"),
        (Part(ID, 5, 0, b"abc", DIGEST), "digest"),
        (Part(ID, 3, 0, b"abc"), "digest"),
        (Part(ID, 3, 0, b"abc", DIGEST[1:]), "digest"),
        (Part(ID, PART_BYTES + 1, 0, bytes(PART_BYTES + 1), DIGEST), "too long"),
        (Credit(ID, 4, 3), "bounds"),
        (Credit(ID, 0, 2**31), "bounds"),
        (Credit(b"", 0, 1), "16 bytes"),
        (Hello("", ID), "name"),
        (Hello("x" * 201, ID), "name"),
        (Hello("x", b""), "instance"),
        (Hello("x", ID, ()), "versions"),
        (Hello("x", ID, range(17)), "versions"),
        (Welcome(1, b""), "hash"),
    ],
)
def test_what_is_out_of_bounds_is_malformed(frame, reason):
    with pytest.raises(ProtocolError, match=reason) as caught:
        frames.parse(frame.serialise())
    assert caught.value.failure == "malformed"


def test_an_empty_frame_and_one_of_the_future_are_malformed():
    for raw in (b"", wire.Frame().SerializeToString(), b"\x3a\x00"):
        with pytest.raises(ProtocolError, match="empty frame"):
            frames.parse(raw)


@given(st.binary(max_size=200))
def test_nothing_but_a_protocol_error_escapes(raw):
    try:
        frame = frames.parse(raw)
    except ProtocolError:
        return
    assert frames.parse(frame.serialise()) == frame


def test_the_newest_common_version_is_chosen():
    assert frames.choose_version((3, 2, 1)) == 1
    for offered in ((), (2, 3)):
        with pytest.raises(ProtocolError, match="update the older") as caught:
            frames.choose_version(offered)
        assert caught.value.failure == "version"


def test_bulk_is_not_shown_when_printed():
    assert "abc" not in repr(Part(ID, 5, 0, b"abc"))


PARTS = st.builds(
    Part,
    st.binary(min_size=16, max_size=16),
    st.integers(1, 2**31),
    st.integers(0, 2**31),
    st.binary(max_size=40),
    st.sampled_from([b"", DIGEST]),
)


@given(PARTS)
def test_a_part_is_written_as_protobuf_writes_it(part):
    body = wire.Part(
        exchange=part.exchange, size=part.size, offset=part.offset, data=part.data, digest=part.digest
    )
    if part.data:
        assert part.serialise() == wire.Frame(part=body).SerializeToString(deterministic=True)


@given(PARTS, st.data())
def test_a_part_is_read_as_protobuf_reads_it(part, data):
    raw = bytearray(part.serialise())
    for _ in range(data.draw(st.integers(0, 2))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(raw)) == outcome(bytes(raw), slowly=True)


def outcome(raw, slowly=False):
    """What parsing gives, or how it fails."""
    with pytest.MonkeyPatch.context() as patch:
        if slowly:
            patch.setattr(frames, "_quick_part", lambda _: None)
        try:
            return frames.parse(raw)
        except ProtocolError as error:
            return error.message

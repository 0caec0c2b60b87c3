"""Protobuf fields as long as the model, written and read without the copies that protobuf makes.

The bytes are those of protobuf's own deterministic encoding. What `split` cannot follow is left to
protobuf's parser, so that every valid encoding is read.
"""

from collections.abc import Iterator

VARINT, LENGTH_DELIMITED = 0, 2
MAX_VARINT_BYTES = 5
"""Of numbers below 2^35: no message is longer."""

Bytes = bytes | memoryview


def field(number: int, *parts: Bytes) -> tuple[Bytes, ...]:
    """A length-delimited field in pieces to be joined: its tag and length, then its content."""
    length = sum(memoryview(part).nbytes for part in parts)
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(length), *parts


def split(raw: Bytes) -> dict[int, memoryview] | None:
    """The contents of a message's fields by number; None unless each is length-delimited and stands once."""
    fields: dict[int, memoryview] = {}
    try:
        for number, content in _fields(memoryview(raw)):
            if number in fields:
                return None
            fields[number] = content
    except ValueError:
        return None
    return fields


def scan(raw: Bytes) -> dict[int, int | memoryview] | None:
    """Numbers below 2^35 and contents of a message by field; None unless each field stands once."""
    fields: dict[int, int | memoryview] = {}
    view, place = memoryview(raw), 0
    try:
        while place < len(view):
            tag, place = _read_varint(view, place)
            number, place = _read_varint(view, place)
            if tag >> 3 in fields or tag & 7 not in (VARINT, LENGTH_DELIMITED):
                return None
            fields[tag >> 3] = number
            if tag & 7 == LENGTH_DELIMITED:
                fields[tag >> 3] = view[place : place + number]
                place += number
        if place > len(view):
            return None
    except ValueError:
        return None
    return fields


def _fields(raw: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Raises ValueError where the bytes are no length-delimited field."""
    place = 0
    while place < len(raw):
        tag, place = _read_varint(raw, place)
        length, place = _read_varint(raw, place)
        if tag & 7 != LENGTH_DELIMITED or length > len(raw) - place:
            raise ValueError
        yield tag >> 3, raw[place : place + length]
        place += length


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit tells that more follow."""
    rest = bytearray()
    while number >= 0x80:
        rest.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*rest, number])


def _read_varint(raw: memoryview, place: int) -> tuple[int, int]:
    """The number at a place and the place after it. Raises ValueError where it does not end."""
    number = 0
    for shift, byte in enumerate(raw[place : place + MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number, place + shift + 1
    raise ValueError

"""Lies made of valid messages: flipped, cut, lengthened, spliced, or rearranged and signed again."""

import copy
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fuzz_targets import LIAR, Target

Mutation = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw or b"\0")
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def lengthen(rng: random.Random, raw: bytes) -> bytes:
    return raw + rng.randbytes(rng.choice((1, 7, 300)))


def repeat(rng: random.Random, raw: bytes) -> bytes:
    start, stop = sorted(rng.choices(range(len(raw) + 1), k=2))
    return raw[:stop] + raw[start:stop] * rng.choice((1, 2, 30)) + raw[stop:]


def remove(rng: random.Random, raw: bytes) -> bytes:
    start, stop = sorted(rng.choices(range(len(raw) + 1), k=2))
    return raw[:start] + raw[stop:]


def swell(rng: random.Random, raw: bytes) -> bytes:
    """Varints of the largest values where lengths may stand."""
    place = rng.randrange(len(raw) + 1)
    number = rng.choice((b"\x7f", b"\xff\x01", b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\xff" * 11))
    return raw[:place] + number + raw[place + rng.choice((0, 1, len(number))) :]


def noise(rng: random.Random, raw: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 5, 64, 1000)))


MUTATIONS: tuple[Mutation, ...] = (flip, flip, flip, cut, lengthen, repeat, remove, swell, noise)


def mutated(rng: random.Random, target: Target) -> bytes:
    """A lie for a target: in its bytes, or field by field and signed again."""
    raw = rng.choice(target.valid)
    if target.kind is not None and rng.random() < 0.4:
        return target.signed(rearranged(rng, target.kind, raw))
    for _ in range(rng.choice((1, 1, 2))):
        raw = rng.choice(MUTATIONS)(rng, raw)
    return raw


def rearranged(rng: random.Random, kind: type[Any], raw: bytes) -> bytes:
    """The message with one to three of its fields changed, swapped, repeated or left out."""
    message = kind()
    message.ParseFromString(raw)
    for _ in range(rng.choice((1, 1, 3))):
        fields = list(leaves(message))
        if fields:
            change_field(rng, *rng.choice(fields), rng.choice(fields))
    return bytes(message.SerializeToString())


def leaves(message: Any) -> Iterator[tuple[Any, str]]:
    """(message, field name) of every field that is set and no single message."""
    for descriptor, value in message.ListFields():
        repeated = hasattr(value, "extend")
        if repeated or descriptor.message_type is None:
            yield message, descriptor.name
        if descriptor.message_type is not None:
            for part in value if repeated else (value,):
                yield from leaves(part)


def change_field(rng: random.Random, message: Any, name: str, other: tuple[Any, str]) -> None:
    value, swapped = getattr(message, name), getattr(*other)
    if hasattr(value, "extend"):
        parts = list(copy.deepcopy(value))
        rng.choice(
            (parts.pop, parts.reverse, parts.clear, partial(parts.extend, parts * rng.choice((1, 20))))
        )()
        del value[:]
        value.extend(parts)
        return
    choices: tuple[Any, ...]
    match value:
        case bytes():
            size = len(value)
            choices = (
                b"",
                value + b"\0",
                value[1:],
                rng.randbytes(size),
                bytes(size),
                b"\xff" * size,
                swapped,
            )
        case str():
            choices = ("", value + "\0", "x" * 300, "é" * 150, LIAR, swapped)
        case float():
            choices = (float("nan"), float("inf"), -1.0, 1e308, 5e-324, swapped)
        case _:
            choices = (0, 1, value + 1, 2**31 - 1, 2**32 - 1, 2**64 - 1, swapped)
    try:
        setattr(message, name, rng.choice(choices))
    except (ValueError, TypeError):
        message.ClearField(name)

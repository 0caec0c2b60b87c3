"""Bytes that no honest peer sends, at every parser and both halves: ProtocolError, or nothing escapes.

Each target has valid messages, which are flipped, cut, lengthened, spliced and rearranged field by
field, and, where a malicious peer could, signed again. `SEALORA_FUZZ_SEED` repeats a soak.
"""

import os
import random
import secrets
import tracemalloc

import pytest
from fuzz_files import file_targets
from fuzz_targets import Recording, Target, record, targets
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated

from sealora.protocol.errors import ProtocolError

SHORT, SOAK = 40, 1_000_000
BYTES_FOR_A_BYTE, BYTES_AT_LEAST = 16, 1 << 18
"""What Python and NumPy may allocate over a message: so much for each of its bytes, and so much more."""


def refused(target: Target, raw: bytes) -> bool:
    """Whether a target refuses the bytes. Fails on anything but a ProtocolError."""
    try:
        target.feed(raw)
    except ProtocolError:
        return True
    except Exception as error:
        raise AssertionError(f"{target.name} let {error!r} escape for {raw.hex()}") from error
    return False


@pytest.fixture(scope="module")
def tape() -> Recording:
    return record()


def every_target(tape: Recording) -> list[Target]:
    return [*targets(tape), *file_targets(tape.roster)]


NAMES = [target.name for target in every_target(record())]


@pytest.fixture(scope="module")
def by_name(tape: Recording) -> dict[str, Target]:
    return {target.name: target for target in every_target(tape)}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "plain site"])
def test_what_is_mutated_is_otherwise_accepted(by_name: dict[str, Target], name: str) -> None:
    """So that refusals are due to the mutations."""
    assert not refused(by_name[name], by_name[name].valid[0])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_a_protocol_error_escapes(by_name: dict[str, Target], name: str) -> None:
    rng, target = random.Random(name), by_name[name]
    refusals = sum(refused(target, mutated(rng, target)) for _ in range(SHORT))
    assert refusals > SHORT // 4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_a_protocol_error_escapes_longer(by_name: dict[str, Target], name: str) -> None:
    rng, target = random.Random(f"longer {name}"), by_name[name]
    assert sum(refused(target, mutated(rng, target)) for _ in range(10 * SHORT)) > SHORT


@pytest.mark.slow
@given(raw=st.binary(max_size=300), name=st.sampled_from(NAMES))
@settings(deadline=None, max_examples=100)
def test_arbitrary_bytes_are_refused_or_read(by_name: dict[str, Target], raw: bytes, name: str) -> None:
    refused(by_name[name], raw)


HUGE = 200_000
BOMBS = {
    "noise": random.Random(1).randbytes(HUGE),
    "zeros": bytes(HUGE),
    "length beyond the end": b"\x0a\xff\xff\xff\xff\x07" + bytes(HUGE),
    "nested groups": b"\x0b" * HUGE,
    "nested messages": b"\x0a\x7f" * (HUGE // 2),
    "empty parts": b"\x0a" + b"\xc0\x9a\x0c" + b"\x12\x00" * (HUGE // 2),
    "positions": b"\x12" + b"\xc0\x9a\x0c" + b"\x12" + b"\xbc\x9a\x0c" + b"\x01" * (HUGE - 4),
    "empty strings": b"\x3a\x00" * (HUGE // 2),
    "JSON": b"[" * HUGE,
}


def peak_of(target: Target, raw: bytes) -> int:
    tracemalloc.start()
    try:
        refused(target, raw)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_memory_is_bounded_by_what_was_received(by_name: dict[str, Target], name: str) -> None:
    rng, target = random.Random(f"memory {name}"), by_name[name]
    lies = [*BOMBS.values(), *(mutated(rng, target) for _ in range(SHORT))]
    for raw in lies:
        assert peak_of(target, raw) <= BYTES_AT_LEAST + BYTES_FOR_A_BYTE * len(raw)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_messages(by_name: dict[str, Target]) -> None:
    seed = int(os.environ.get("SEALORA_FUZZ_SEED", secrets.randbits(32)))
    print(f"SEALORA_FUZZ_SEED={seed}")
    rng = random.Random(seed)
    every = list(by_name.values())
    refusals = 0
    for _ in range(SOAK):
        target = rng.choice(every)
        refusals += refused(target, mutated(rng, target))
    assert SOAK // 4 < refusals < SOAK

"""A whole round, byte for byte: three sites of which one drops out after R1 in a session for four."""

import hashlib
import json
from itertools import count
from pathlib import Path

import pytest

from sealora.protocol.attempts import Head
from sealora.protocol.keys import ExchangeKey

VECTOR = json.loads((Path(__file__).parent / "vectors" / "round.json").read_text("utf-8"))


def stream(label):
    """What stands for randomness: SHA-256 of the label and a number from 0."""
    return (hashlib.sha256(f"{label} {number}".encode()).digest() for number in count())


@pytest.fixture
def fixed_randomness(monkeypatch):
    exchange, seeds, coefficients = stream("exchange"), stream("seed"), stream("coefficient")

    class Fixed(ExchangeKey):
        @classmethod
        def generate(cls):
            return ExchangeKey.from_secret(next(exchange))

    monkeypatch.setattr("sealora.protocol.secure_site.ExchangeKey", Fixed)
    monkeypatch.setattr("sealora.protocol.secure_site.secrets.token_bytes", lambda size: next(seeds))
    monkeypatch.setattr(
        "sealora.protocol.shamir.secrets.randbelow", lambda bound: int.from_bytes(next(coefficients), "big")
    )


def play(cohort):
    """Every message of the round, by phase and site, and the sum."""
    cohort.ledgers = {
        name: Head(number, hashlib.sha256(name.encode()).digest())
        for number, name in enumerate(cohort.names, 5)
    }
    opening = cohort.opening()
    coordinator = cohort.coordinator(opening)
    phases = []
    for phase in range(5):
        requests = coordinator.requests() if phase else dict.fromkeys(cohort.names, opening)
        answers = {name: cohort.answer(name, request) for name, request in requests.items()}
        if phase == 2:
            del answers["site0001"]
        for name, answer in answers.items():
            coordinator.receive(name, answer)
        coordinator.advance()
        sent = {name: request.hex() for name, request in requests.items()} if phase else {}
        phases.append({"requests": sent, "answers": {name: answer.hex() for name, answer in answers.items()}})
    return {
        "header": opening.header.hex(),
        "signature": opening.signature.hex(),
        "payloads": {name: words.astype("<u8").tobytes().hex() for name, words in cohort.payloads.items()},
        "phases": phases,
        "transcript": coordinator.transcript.hex(),
        "sum": coordinator.result().words.astype("<u8").tobytes().hex(),
    }


@pytest.mark.usefixtures("fixed_randomness")
def test_the_round_is_the_recorded_one(make_cohort):
    assert play(make_cohort(4)) == VECTOR

"""Structured logs: one JSON object a line, and nothing in it but the fields that were named."""

import io
import json

from sealora.plan.logs import MAX_TEXT, Log
from sealora.protocol.certificates import Credentials


def logged(event, **fields):
    stream = io.StringIO()
    Log("agent", stream)(event, **fields)
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_line_says_when_who_and_what():
    line = logged("connected", sites=("ams", "ber"), seconds=1.5, twice=False, reason=None)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "process": "agent",
        "event": "connected",
        "sites": ["ams", "ber"],
        "seconds": 1.5,
        "twice": False,
        "reason": None,
    }


def test_a_text_is_one_line_and_not_endless():
    line = logged("failed", reason="first\nsecond" + "x" * 10_000)
    assert line["reason"].startswith("first\nsecond")
    assert len(line["reason"]) == MAX_TEXT


def test_an_object_that_holds_a_key_does_not_show_it():
    assert "secret" not in str(logged("listening", credentials=Credentials(b"ca", b"certificate", b"secret")))

"""A site's handler that keeps a log: each request before it is worked on, each reply before it leaves."""

import hashlib
from collections.abc import Callable, Mapping

from sealora.privacy.audit_log import AuditLog, Direction, Fact
from sealora.protocol import messages, secure_messages
from sealora.protocol.errors import ProtocolError
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import Header, Open, Refusal
from sealora.protocol.secure_answers import Abort

Handler = Callable[[bytes], bytes]
REQUESTS = {1: "adverts", 2: "deliveries", 3: "survivors", 4: "signers"}
REPLIES = {1: "advert", 2: "shares", 3: "masked", 4: "consistency", 5: "release", 6: "abort"}
"""Kinds of a secure session's messages by the field that they begin with."""


class Audited:
    """Calls `handle` and records both ways. Never the contents: sizes, hashes and what a header says."""

    def __init__(self, handle: Handler, log: AuditLog) -> None:
        self._handle = handle
        self._log = log
        self._secure = True

    def __call__(self, request: bytes) -> bytes:
        """The reply. Raises RunError if the log cannot be written: then nothing may leave."""
        self._record(*self._asked(request), direction_in=True, raw=request)
        reply = self._handle(request)
        self._record(*self._answered(reply), direction_in=False, raw=reply)
        return reply

    def _record(self, kind: str, facts: Mapping[str, Fact], *, direction_in: bool, raw: bytes) -> None:
        digest = hashlib.sha256(raw).digest()
        # A request's record is synced with its reply's, before that leaves.
        direction: Direction = "in" if direction_in else "out"
        self._log.record(kind, direction, len(raw), digest, facts, sync=not direction_in)

    def _asked(self, raw: bytes) -> tuple[str, Mapping[str, Fact]]:
        try:
            body = messages.parse_request(raw)
            if not isinstance(body, Open):
                return _kind(body, REQUESTS), {}
            header = Header.parse(body.header)
        except ProtocolError as error:
            return "malformed", {"failure": error.failure}
        self._secure = header.secure
        return "open", _facts(header)

    def _answered(self, raw: bytes) -> tuple[str, Mapping[str, Fact]]:
        body = messages.parse_reply(raw)
        if isinstance(body, Refusal):
            return "refusal", {"reason": body.reason.name.lower(), "text": body.text}
        if not self._secure:
            return "contribution", {}
        kind = _kind(body, REPLIES)
        return kind, _abort_facts(body) if kind == "abort" else {}


def _facts(header: Header) -> Mapping[str, Fact]:
    return {
        "run": header.run.hex(),
        "round": header.round,
        "attempt": header.attempt,
        "work": header.work.name.lower(),
        "plan": header.plan_hash.hex(),
        "model": header.model_hash.hex(),
        "cohort": len(header.cohort),
        "secure": header.secure,
    }


def _abort_facts(body: Bytes) -> Mapping[str, Fact]:
    try:
        abort = secure_messages.parse_reply(body, len(body))
    except ProtocolError:
        return {}
    return {"failure": abort.failure, "text": abort.text} if isinstance(abort, Abort) else {}


def _kind(body: Bytes, kinds: Mapping[int, str]) -> str:
    """Without parsing a whole vector: a oneof's field number stands in the first byte."""
    return kinds.get(body[0] >> 3, "unknown") if body else "unknown"

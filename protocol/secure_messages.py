"""The messages of a secure session as bytes; bounds are checked before anything is allocated.

`parse_request` and `parse_reply` take bytes from an untrusted peer, with the most bytes that the
open phase allows, and raise ProtocolError("malformed", …) for anything else. They check the length
of every field and that positions are strictly ascending; who may be meant is the sessions' affair.
"""

from sealora.protocol import secure_messages_pb2 as wire
from sealora.protocol.errors import ProtocolError
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import MAX_NAME_BYTES
from sealora.protocol.secure_answers import Abort, Advert, Answer, Consistency, Masked, Release, Shares
from sealora.protocol.secure_fields import parse, serialise
from sealora.protocol.secure_requests import Adverts, Deliveries, Request, Signers, Survivors

OVERHEAD_BYTES = 4096
"""Room for the fields of a message that do not grow with the session."""
PER_SITE_BYTES = MAX_NAME_BYTES + 512
"""Most bytes that one site adds to any request."""


def request(body: Request) -> bytes:
    """Serialise a request of a secure session."""
    return serialise(body.to_wire())


def reply(body: Answer) -> bytes:
    """Serialise a reply of a secure session."""
    match body:
        case Advert():
            message = wire.SecureReply(advert=body.to_wire())
        case Shares():
            message = wire.SecureReply(shares=body.to_wire())
        case Masked():
            return body.reply()
        case Consistency():
            message = wire.SecureReply(consistency=body.to_wire())
        case Release():
            message = wire.SecureReply(release=body.to_wire())
        case Abort():
            message = wire.SecureReply(abort=body.to_wire())
    return serialise(message)


def parse_request(raw: Bytes, limit: int) -> Request:
    """Raises ProtocolError unless the bytes, at most `limit` of them, are a request."""
    message = wire.SecureRequest()
    _require_limit(raw, limit)
    parse(message, raw)
    match message.WhichOneof("body"):
        case "adverts":
            return Adverts.from_wire(message.adverts)
        case "deliveries":
            return Deliveries.from_wire(message.deliveries)
        case "survivors":
            return Survivors.from_wire(message.survivors)
        case "signers":
            return Signers.from_wire(message.signers)
    raise ProtocolError("malformed", "an empty request of a secure session")


def parse_reply(raw: Bytes, limit: int) -> Answer:
    """Raises ProtocolError unless the bytes, at most `limit` of them, are a reply."""
    _require_limit(raw, limit)
    return Masked.read(raw) or _parse_reply(raw)


def _parse_reply(raw: Bytes) -> Answer:
    message = wire.SecureReply()
    parse(message, raw)
    match message.WhichOneof("body"):
        case "advert":
            return Advert.from_wire(message.advert)
        case "shares":
            return Shares.from_wire(message.shares)
        case "masked":
            return Masked.from_wire(message.masked)
        case "consistency":
            return Consistency.from_wire(message.consistency)
        case "release":
            return Release.from_wire(message.release)
        case "abort":
            return Abort.from_wire(message.abort)
    raise ProtocolError("malformed", "an empty reply of a secure session")


def _require_limit(raw: Bytes, limit: int) -> None:
    if len(raw) > limit:
        raise ProtocolError("malformed", f"a message of {len(raw)} bytes exceeds the {limit} of this phase")

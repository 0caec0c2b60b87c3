"""Signatures known to be good: each is verified once, however often it is shown."""

import hashlib
from collections import OrderedDict

from sealora.protocol.keys import IdentityKey, pack, verify

REMEMBERED = 1 << 16
"""Signatures kept in mind, about 100 bytes each."""


class Signatures:
    """What one party has signed or verified; the very same bytes under the same key need no second look.

    Sites on machines of their own have one each. A simulation may give one to all of its sites:
    whether a signature is good does not depend on who asks.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def sign(self, identity: IdentityKey, label: str, *fields: bytes) -> bytes:
        """The 64-byte signature, see `IdentityKey.sign`."""
        signature = identity.sign(label, *fields)
        self._remember(_digest(identity.public, signature, label, fields))
        return signature

    def verify(self, public: bytes, signature: bytes, label: str, *fields: bytes) -> None:
        """Raises ProtocolError("forged", …) as `keys.verify` does."""
        digest = _digest(public, signature, label, fields)
        if digest not in self._known:
            verify(public, signature, label, *fields)
            self._remember(digest)

    def _remember(self, digest: bytes) -> None:
        """Keep a digest, and drop the oldest beyond the limit."""
        self._known[digest] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _digest(public: bytes, signature: bytes, label: str, fields: tuple[bytes, ...]) -> bytes:
    return hashlib.sha256(pack(label, public, signature, *fields)).digest()

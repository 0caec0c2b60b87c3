"""One attempt to sum the sites' encoded payloads: the two halves as state machines without I/O.

The coordinator's half opens with a header; a site's half answers it with its first message once
its payload is encoded, and every later phase is one request and one reply for each site left:

    first = site_half.start(words)           # the reply to the opening
    server_half.receive(site, first)
    server_half.advance()                    # when all have answered, or at quorum and deadline
    while requests := server_half.requests():
        ... server_half.receive(site, site_half.receive(requests[site])) ...
        server_half.advance()
    server_half.result()
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Words
from sealora.protocol.long_fields import Bytes
from sealora.protocol.messages import Header


@dataclass(frozen=True)
class Sum:
    """The sum of the contributors' words modulo 2^64, shape (words,), and whose they are."""

    words: Words
    contributors: tuple[str, ...]
    apart: Mapping[str, Words] = field(default_factory=dict, repr=False)
    """The words of each contributor, where a plain session was asked to keep them apart."""


class SiteHalf(Protocol):
    """A site's half of one attempt. Every method raises ProtocolError and is dead afterwards."""

    @property
    def members(self) -> Collection[str]:
        """Names on the roster that the session rests on; empty in a plain one."""

    def start(self, words: Words, ledger: Head = NO_RECORDS) -> bytes:
        """Enter the attempt with an encoded payload; returns the reply to the opening.

        `ledger` is the head of the site's privacy ledger, which a secure session signs.
        """

    def receive(self, message: bytes) -> bytes:
        """Answer a later message of the coordinator's half."""


class CoordinatorHalf(Protocol):
    """The coordinator's half of one attempt."""

    @property
    def header(self) -> Header:
        """What the attempt is about."""

    @property
    def phase(self) -> str:
        """Name of the open phase: "train" at first."""

    @property
    def incomplete(self) -> bool:
        """Whether the open phase must not be given up and lacks answers: its requests are to be repeated."""

    @property
    def transcript(self) -> bytes:
        """Names what this attempt agreed on, for the next header; empty in a plain session."""

    def requests(self) -> Mapping[str, bytes]:
        """The messages of the phase that is open, by site; empty in the first and after the last."""

    def receive(self, site: str, message: Bytes) -> None:
        """Take a site's answer to the open phase. Raises ProtocolError: the site is a culprit."""

    def leave(self, site: str, reason: str) -> None:
        """Note that a site has refused: it takes no further part in the attempt."""

    def advance(self) -> None:
        """Close the phase with the answers there are.

        Raises AttemptFailed below the quorum, AttemptPending where the phase must not be given up.
        """

    def result(self) -> Sum:
        """The sum, after the last phase."""

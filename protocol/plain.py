"""The plain session: the coordinator sees every site's encoded payload and adds them up."""

import hashlib
from collections.abc import Collection, Mapping

import numpy as np

from sealora.protocol import messages
from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Words
from sealora.protocol.errors import AttemptFailed, ProtocolError
from sealora.protocol.long_fields import Bytes
from sealora.protocol.session import Sum


class PlainSiteHalf:
    """Answers the opening with the payload in clear."""

    def __init__(self, opening: messages.Open) -> None:
        self._header_hash = hashlib.sha256(opening.header).digest()

    @property
    def members(self) -> Collection[str]:
        """There is no roster."""
        return ()

    def start(self, words: Words, ledger: Head = NO_RECORDS) -> bytes:
        """The contribution: the header's hash and the words. Nothing is signed, so `ledger` stays here."""
        return messages.contribution(self._header_hash, words)

    def receive(self, message: bytes) -> bytes:
        """A plain session has no later phase. Raises ProtocolError."""
        raise ProtocolError("out_of_order", "a plain session ends with the contribution")


class PlainCoordinatorHalf:
    """Adds contributions as they come; memory is one vector, whatever the number of sites.

    With `apart` it keeps every site's besides, for rules that compare them.
    """

    def __init__(self, header: bytes, apart: bool = False) -> None:
        self.header = messages.Header.parse(header)
        self._header_hash = hashlib.sha256(header).digest()
        self._words = np.zeros(self.header.words, dtype=np.uint64)
        self._contributors: set[str] = set()
        self._apart: dict[str, Words] | None = {} if apart else None

    @property
    def phase(self) -> str:
        """There is only one."""
        return "train"

    @property
    def incomplete(self) -> bool:
        """Any phase may be given up."""
        return False

    @property
    def transcript(self) -> bytes:
        """Nothing is agreed on."""
        return b""

    def requests(self) -> Mapping[str, bytes]:
        """Nothing follows the opening."""
        return {}

    def receive(self, site: str, message: Bytes) -> None:
        """Add one contribution. Raises ProtocolError for a stranger, a repetition or a malformed one."""
        if site not in self.header.cohort or site in self._contributors:
            raise ProtocolError("unexpected", f"{site} is not expected to contribute")
        words = messages.parse_contribution(message, self._header_hash, self.header.words)
        self._words += words
        self._contributors.add(site)
        if self._apart is not None:
            self._apart[site] = words

    def leave(self, site: str, reason: str) -> None:
        """Nothing needs to be known of a site that contributes nothing."""

    def advance(self) -> None:
        """Raises AttemptFailed below the quorum."""
        if len(self._contributors) < self.header.quorum:
            raise AttemptFailed(
                f"{len(self._contributors)} sites contributed, the quorum is {self.header.quorum}."
            )

    def result(self) -> Sum:
        """The sum of all contributions."""
        return Sum(self._words, tuple(sorted(self._contributors)), dict(sorted((self._apart or {}).items())))

"""What both halves of a secure session derive from the header and the adverts: names, keys, thresholds."""

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property

from sealora.protocol import graph, thresholds
from sealora.protocol.attempts import NO_RECORDS, Head
from sealora.protocol.codec import Words
from sealora.protocol.keys import IdentityKey, derive, pack
from sealora.protocol.messages import Header
from sealora.protocol.secure_fields import encode_positions
from sealora.protocol.secure_requests import Member

HEADER = "sealora/v1/header"
ADVERT = "sealora/v1/advert"
SHARES = "sealora/v1/shares"
MASKED = "sealora/v1/masked"
CONSISTENT = "sealora/v1/consistent"
RELEASE = "sealora/v1/release"
ABORT = "sealora/v1/abort"
"""Labels of what is signed."""


@dataclass(frozen=True)
class Agreement:
    """The session that begins when U1 is fixed. `members` are U1, sorted by site.

    A *position* is a site's place in U1, from 0.
    """

    header: Header
    name: bytes
    members: tuple[Member, ...]

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """U1, sorted."""
        return tuple(member.site for member in self.members)

    @cached_property
    def threshold(self) -> int:
        """t, from n = |U1|."""
        return thresholds.threshold(len(self.members), self.header.colluders)

    @cached_property
    def floor(self) -> int:
        """max(n_min, t): fewest members of U1, U2 and U3."""
        return thresholds.floor(len(self.members), self.header.colluders, self.header.n_min)

    @cached_property
    def shape(self) -> graph.Shape:
        """The graph along which shares and masks go."""
        return graph.shape(len(self.members), self.header.colluders, self.threshold, self.floor)

    @cached_property
    def holders(self) -> graph.Neighbourhoods:
        """For each position those who hold its shares, itself included; the relation is symmetric."""
        return graph.Neighbourhoods(len(self.members), self.shape.degree, self.name)

    def peers(self, position: int, among: Container[int]) -> tuple[int, ...]:
        """The members of `among`, other than itself, with whom a position shares secrets and masks."""
        return tuple(peer for peer in self.holders[position] if peer != position and peer in among)

    def dealers(self, position: int, sharers: Container[int]) -> tuple[int, ...]:
        """The members of U2, itself included, of whose secrets a position holds shares."""
        return tuple(dealer for dealer in self.holders[position] if dealer in sharers)

    @property
    def everyone(self) -> range:
        """All positions."""
        return range(len(self.members))


def header_hash(header: bytes) -> bytes:
    """H(header), over the very bytes that travelled."""
    return hashlib.sha256(header).digest()


def session_name(header: bytes, members: Sequence[Member]) -> bytes:
    """h1 = H(header ‖ sorted adverts)."""
    parts = [part for member in members for part in (member.site.encode(), member.share_key, member.mask_key)]
    return hashlib.sha256(pack("sealora/v1/session", header, *parts)).digest()


def sign_header(identity: IdentityKey, header: bytes) -> bytes:
    """The coordinator's signature that opens a secure attempt, for `Open.signature`."""
    return identity.sign(HEADER, header)


def commitment(seed: bytes, site: str, session: bytes) -> bytes:
    """SHA-256(b_u ‖ u ‖ h1): what a recovered self-mask seed is checked against."""
    return hashlib.sha256(pack("sealora/v1/commitment", seed, site.encode(), session)).digest()


def sealing_key(agreed: bytes, session: bytes, sender: str, recipient: str) -> bytes:
    """The key that seals one sender's shares to one recipient, and nothing else."""
    return derive(agreed, session, pack("sealora/v1/share", sender.encode(), recipient.encode()))


def sealing_data(session: bytes, sender: str, recipient: str) -> bytes:
    """The data that a sealed share is bound to: h1 ‖ u ‖ v."""
    return pack("sealora/v1/share", session, sender.encode(), recipient.encode())


def self_mask_key(seed: bytes, session: bytes) -> bytes:
    """The key of a site's own mask."""
    return derive(seed, session, pack("sealora/v1/self"))


def pair_mask_key(agreed: bytes, session: bytes, one: str, other: str, model_hash: bytes) -> bytes:
    """The key of the mask that two sites add and subtract; sites with different models get noise."""
    low, high = sorted((one, other))
    return derive(agreed, session, pack("sealora/v1/mask", low.encode(), high.encode(), model_hash))


def receipt_fields(
    session: bytes, sharers: Sequence[int], digest: bytes, head: Head, ledger: Head = NO_RECORDS
) -> tuple[bytes, ...]:
    """What a site signs of its masked vector: (h1, U2, H(y), log head, ledger head)."""
    heads = [part for kept in (head, ledger) for part in (kept.count.to_bytes(8, "big"), kept.digest)]
    return session, encode_positions(sharers), digest, *heads


def statement(session: bytes, sharers: Sequence[int], survivors: Sequence[int]) -> bytes:
    """H(h1 ‖ U2 ‖ U3): the one statement that a member ever signs about a session."""
    return hashlib.sha256(
        pack(CONSISTENT, session, encode_positions(sharers), encode_positions(survivors))
    ).digest()


def words_digest(words: Words) -> bytes:
    """H(y): SHA-256 of the words as they travel, little-endian."""
    return hashlib.sha256(words.astype("<u8", copy=False).data).digest()

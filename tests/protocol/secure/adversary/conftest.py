"""A coordinator that does not follow the protocol, and sites that collude with it.

Its attacks are modules beside this one, found by their bare names.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealora.protocol import secure_messages as wire
from sealora.protocol.agreement import Agreement, header_hash, pair_mask_key, self_mask_key, session_name
from sealora.protocol.keys import ExchangeKey
from sealora.protocol.masks import apply_masks
from sealora.protocol.messages import Header, Open
from sealora.protocol.secure_answers import Advert, Answer, Masked, Release, Shares
from sealora.protocol.secure_fields import SEALED_BYTES
from sealora.protocol.secure_requests import Adverts, Deliveries, Member, Signers, Survivors
from sealora.protocol.shamir import SHARE_BYTES, Recovery

sys.path.insert(0, str(Path(__file__).parent))
LIMIT = 1 << 20


@dataclass
class Attacker:
    """Talks to the sites of a cohort as it likes. A site that aborts raises `Aborted` here.

    `told` holds every answer of every site, in order.
    """

    cohort: Any
    told: list[tuple[str, Answer]] = field(default_factory=list)

    def tell(self, site: str, request: Any) -> Any:
        """A site's parsed answer to an opening, a message or its bytes."""
        half = self.cohort.halves.get(site)
        if isinstance(request, Open):
            raw = self.cohort.half(site, request).start(self.cohort.payloads[site])
        else:
            raw = half.receive(request if isinstance(request, bytes) else wire.request(request))
        answer = wire.parse_reply(raw, LIMIT)
        self.told.append((site, answer))
        return answer

    @property
    def releases(self) -> list[tuple[str, Release]]:
        return [(site, answer) for site, answer in self.told if isinstance(answer, Release)]

    def open(self, opening: Open, sites: Iterable[str] | None = None) -> "Session":
        """R0 with all sites, or some."""
        sites = self.cohort.names if sites is None else sites
        return Session(self, opening, {site: self.tell(site, opening) for site in sites})


@dataclass
class Session:
    """One attempt as the attacker leads it; positions are those of U1."""

    attacker: Attacker
    opening: Open
    adverts: dict[str, Advert]
    shares: dict[int, Shares] = field(default_factory=dict)
    masked: dict[int, Masked] = field(default_factory=dict)

    @property
    def agreement(self) -> Agreement:
        members = self.members
        name = session_name(self.opening.header, members)
        return Agreement(Header.parse(self.opening.header), name, members)

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(site, advert.share_key, advert.mask_key, advert.signature)
            for site, advert in sorted(self.adverts.items())
        )

    def invitation(self, **changes: Any) -> Adverts:
        """The R1 request."""
        request = Adverts(header_hash(self.opening.header), self.members)
        return replace(request, **changes)

    def share(self, sites: Iterable[str] | None = None) -> "Session":
        """R1 with all members, or some."""
        for site in sorted(self.adverts) if sites is None else sites:
            self.shares[self.position(site)] = self.attacker.tell(site, self.invitation())
        return self

    def delivery(self, site: str, sharers: Iterable[int] | None = None) -> Deliveries:
        """The R2 request for a site, with the true shares of the given U2."""
        agreement = self.agreement
        sharers = tuple(sorted(self.shares if sharers is None else sharers))
        own = self.position(site)
        sealed = b"".join(self.sealed(dealer, own) for dealer in agreement.peers(own, frozenset(sharers)))
        return Deliveries(agreement.name, sharers, sealed)

    def sealed(self, dealer: int, holder: int) -> bytes:
        """What one member sealed for another."""
        peers = self.agreement.peers(dealer, self.agreement.everyone)
        return self.shares[dealer].sealed[peers.index(holder) * SEALED_BYTES :][:SEALED_BYTES]

    def mask(self, sites: Iterable[str] | None = None) -> "Session":
        """R2 with all of U2, or some of them."""
        for site in [self.site(position) for position in self.shares] if sites is None else sites:
            self.masked[self.position(site)] = self.attacker.tell(site, self.delivery(site))
        return self

    def survivors(self, positions: Iterable[int]) -> Survivors:
        """The R3 request that claims these survivors."""
        chosen = tuple(sorted(positions))
        receipts = tuple(self.masked[position].receipt for position in chosen)
        return Survivors(self.agreement.name, chosen, receipts)

    def confirm(self, positions: Iterable[int], sites: Iterable[str]) -> dict[int, bytes]:
        """R3 with some sites: their signatures by position."""
        request = self.survivors(positions)
        return {self.position(site): self.attacker.tell(site, request).signature for site in sites}

    def signers(self, signatures: Mapping[int, bytes]) -> Signers:
        """The R4 request that shows these signatures."""
        chosen = tuple(sorted(signatures))
        return Signers(self.agreement.name, chosen, tuple(signatures[position] for position in chosen))

    def release(self, signatures: Mapping[int, bytes], sites: Iterable[str]) -> dict[int, dict[int, bytes]]:
        """R4 with some sites: shares by holder and dealer."""
        request = self.signers(signatures)
        everybody = frozenset(self.shares)
        found = {}
        for site in sites:
            own, joined = self.position(site), self.attacker.tell(site, request).shares
            found[own] = {
                dealer: joined[place * SHARE_BYTES :][:SHARE_BYTES]
                for place, dealer in enumerate(self.agreement.dealers(own, everybody))
            }
        return found

    def secret(self, dealer: int, released: Mapping[int, Mapping[int, bytes]], threshold: int) -> bytes:
        """A dealer's secret from what its holders released."""
        holders = sorted(released)[:threshold]
        points = [self.agreement.holders[dealer].index(holder) + 1 for holder in holders]
        return Recovery(points).secret([released[holder][dealer] for holder in holders])

    def payload(self, victim: int, seed: bytes, scalar: bytes) -> np.ndarray:
        """A single site's payload, from its masked vector and both of its secrets."""
        agreement, key = self.agreement, ExchangeKey.from_secret(scalar)
        add, subtract = [], [self_mask_key(seed, agreement.name)]
        for peer in agreement.peers(victim, frozenset(self.shares)):
            pair = pair_mask_key(
                key.agree(agreement.members[peer].mask_key),
                agreement.name,
                agreement.sites[victim],
                agreement.sites[peer],
                agreement.header.model_hash,
            )
            (subtract if victim < peer else add).append(pair)
        words = self.masked[victim].words.astype(np.uint64)
        apply_masks(words, add, subtract)
        return words

    def opened(
        self, survivors: Collection[int], seeds: Mapping[int, bytes], scalars: Mapping[int, bytes]
    ) -> np.ndarray:
        """The sum over survivors, from their seeds and the scalars of all others that they masked with."""
        agreement = self.agreement
        words = np.sum([self.masked[position].words for position in survivors], axis=0, dtype=np.uint64)
        add, subtract = [], [self_mask_key(seeds[position], agreement.name) for position in survivors]
        for gone, scalar in scalars.items():
            key = ExchangeKey.from_secret(scalar)
            for survivor in survivors:
                agreed = key.agree(agreement.members[survivor].mask_key)
                ends = agreement.sites[survivor], agreement.sites[gone]
                undo = subtract if survivor < gone else add
                undo.append(pair_mask_key(agreed, agreement.name, *ends, agreement.header.model_hash))
        apply_masks(words, add, subtract)
        return words

    def total(self, survivors: Collection[int], released: Mapping[int, Mapping[int, bytes]]) -> np.ndarray:
        """The sum over survivors when nobody of U2 dropped out."""
        words = np.sum([self.masked[position].words for position in survivors], axis=0, dtype=np.uint64)
        threshold = self.agreement.threshold
        seeds = [self.secret(position, released, threshold) for position in survivors]
        apply_masks(words, [], [self_mask_key(seed, self.agreement.name) for seed in seeds])
        return words

    def position(self, site: str) -> int:
        return sorted(self.adverts).index(site)

    def site(self, position: int) -> str:
        return sorted(self.adverts)[position]


@pytest.fixture
def make_attacker(make_cohort) -> Callable[..., Attacker]:
    def make(count: int, **options: object) -> Attacker:
        return Attacker(make_cohort(count, **options))

    return make


@pytest.fixture
def disable(monkeypatch) -> Callable[..., None]:
    """Remove checks, each named by its dotted path."""

    def nothing(*arguments: object, **keywords: object) -> None:
        return None

    def remove(*paths: str) -> None:
        for path in paths:
            monkeypatch.setattr(f"sealora.protocol.{path}", nothing)

    return remove

"""What the coordinator does with the shares of R4: recover one secret for each member of U2, and unmask.

A share that is not what its dealer dealt is found by the commitment (or the public key) that the
recovered secret must match, and worked around as long as t good ones remain. Who was at fault, the
dealer or the holder, cannot be told from one such pair: it is reported as a dispute.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, islice

from sealora.protocol.agreement import Agreement, commitment, pair_mask_key, self_mask_key
from sealora.protocol.errors import AttemptFailed, ProtocolError
from sealora.protocol.keys import ExchangeKey
from sealora.protocol.shamir import SHARE_BYTES, Recovery

TRIES = 1000
"""Sets of shares tried for one secret before it counts as lost."""


@dataclass
class Unmasking:
    """The shares released in a session. `releases` maps a holder's position to its shares, joined."""

    agreement: Agreement
    sharers: tuple[int, ...]
    survivors: tuple[int, ...]
    commitments: Mapping[int, bytes]
    releases: Mapping[int, bytes]
    disputes: set[tuple[int, int]] = field(default_factory=set)
    """(dealer, holder) pairs, one of whom lied."""
    _recoveries: dict[tuple[int, ...], Recovery] = field(default_factory=dict)
    _suspects: set[int] = field(default_factory=set)

    def masks(self) -> tuple[list[bytes], list[bytes]]:
        """Keys of the masks to add to the sum of the masked vectors, and of those to subtract.

        Raises: AttemptFailed if a secret cannot be recovered.
        """
        sharers = frozenset(self.sharers)
        self._shares = {holder: self._split(holder, sharers) for holder in self.releases}
        add: list[bytes] = []
        subtract = [self_mask_key(self._seed(site), self.agreement.name) for site in self.survivors]
        alive = frozenset(self.survivors)
        for dropped in self.sharers:
            if dropped not in alive:
                self._pairs(dropped, alive, add, subtract)
        return add, subtract

    def _split(self, holder: int, sharers: frozenset[int]) -> dict[int, bytes]:
        joined, places = self.releases[holder], range(0, len(self.releases[holder]), SHARE_BYTES)
        shares = [joined[place : place + SHARE_BYTES] for place in places]
        return dict(zip(self.agreement.dealers(holder, sharers), shares, strict=True))

    def _seed(self, survivor: int) -> bytes:
        expected, site = self.commitments[survivor], self.agreement.sites[survivor]
        return self._secret(survivor, lambda seed: commitment(seed, site, self.agreement.name) == expected)

    def _pairs(self, dropped: int, alive: frozenset[int], add: list[bytes], subtract: list[bytes]) -> None:
        """The masks between a dropped site and the survivors, which nothing cancels."""
        members, model_hash = self.agreement.members, self.agreement.header.model_hash
        expected = members[dropped].mask_key
        key = ExchangeKey.from_secret(
            self._secret(dropped, lambda scalar: ExchangeKey.from_secret(scalar).public == expected)
        )
        for peer in self.agreement.peers(dropped, alive):
            agreed = key.agree(members[peer].mask_key)
            ends = members[peer].site, members[dropped].site
            # The survivor with the smaller position added this mask, the other subtracted it.
            undo = subtract if peer < dropped else add
            undo.append(pair_mask_key(agreed, self.agreement.name, *ends, model_hash))

    def _secret(self, dealer: int, matches: Callable[[bytes], bool]) -> bytes:
        """A dealer's secret from the first set of shares that gives one which matches."""
        holders = [holder for holder in self.agreement.holders[dealer] if holder in self._shares]
        if self._suspects:
            holders.sort(key=lambda holder: holder in self._suspects)
        needed = self.agreement.shape.threshold
        for tried, chosen in enumerate(islice(_subsets(holders, needed), TRIES)):
            secret = self._recover(dealer, chosen)
            if secret is not None and matches(secret):
                doubtful = holders if tried else self._suspects.intersection(holders)
                self._dispute(dealer, chosen, sorted(doubtful), secret)
                return secret
        raise self._lost(dealer, len(holders), needed)

    def _recover(self, dealer: int, chosen: Sequence[int]) -> bytes | None:
        points = _points(self.agreement.holders[dealer], tuple(chosen))
        if points not in self._recoveries:
            self._recoveries[points] = Recovery(points)
        try:
            return self._recoveries[points].secret([self._shares[holder][dealer] for holder in chosen])
        except ProtocolError:
            return None

    def _dispute(self, dealer: int, chosen: Sequence[int], doubtful: Sequence[int], secret: bytes) -> None:
        """Find the holders whose shares do not lie on the polynomial of the good ones."""
        for holder in doubtful:
            if holder not in chosen and self._recover(dealer, [*chosen[1:], holder]) != secret:
                self.disputes.add((dealer, holder))
                self._suspects.add(holder)

    def _lost(self, dealer: int, released: int, needed: int) -> AttemptFailed:
        site = self.agreement.sites[dealer]
        if released < needed:
            return AttemptFailed(
                f"{released} of the {needed} sites needed gave up their share of {site}'s secret."
            )
        # Had the dealer been honest, the shares of t honest holders would have matched.
        sets = 2**released
        certain = sets <= TRIES and released >= needed + self.agreement.header.colluders
        culprits = frozenset({site}) if certain else frozenset[str]()
        return AttemptFailed(f"the shares of {site}'s secret contradict its commitment.", culprits)


@lru_cache(maxsize=2)
def _points(holders: tuple[int, ...], chosen: tuple[int, ...]) -> tuple[int, ...]:
    """Where the chosen holders' shares lie; over a complete graph the same for one dealer after the other."""
    return tuple(holders.index(holder) + 1 for holder in chosen)


def _subsets(holders: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Every set of `size` holders, those that leave out few of the first ones earlier; some repeat."""
    for left_out in range(len(holders) - size + 1):
        for excluded in combinations(holders, left_out):
            yield tuple(sorted([holder for holder in holders if holder not in excluded][:size]))

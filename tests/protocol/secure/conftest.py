"""A cohort of sites and a coordinator in one process, whose every message a test can see and change."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import cycle

import numpy as np
import pytest

from sealora.protocol.admission import Floors, Membership
from sealora.protocol.agreement import sign_header
from sealora.protocol.attempts import NO_RECORDS, AttemptLog, Head
from sealora.protocol.keys import ExchangeKey, IdentityKey, verify
from sealora.protocol.messages import Header, Open, Work, model_hash
from sealora.protocol.roster import Roster, genesis
from sealora.protocol.secure_coordinator import SecureCoordinatorHalf
from sealora.protocol.secure_site import Aborted, SecureSiteHalf

PHASES = 5
NEVER = PHASES


def site_names(count: int) -> tuple[str, ...]:
    return tuple(f"site{number:04}" for number in range(count))


def identity(name: str) -> IdentityKey:
    return IdentityKey.from_bytes(name.encode().ljust(32, b"."))


@dataclass
class Cohort:
    """`logs`, `ledgers` (heads) and `halves` are by site."""

    names: tuple[str, ...]
    colluders: int = 0
    n_min: int = 3
    words: int = 3
    floors: Floors = field(default_factory=Floors)
    logs: dict[str, AttemptLog] = field(default_factory=dict)
    ledgers: dict[str, Head] = field(default_factory=dict)
    halves: dict[str, SecureSiteHalf] = field(default_factory=dict)
    aborts: dict[str, Aborted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.coordinator_key = identity("coordinator")
        self.identities = {name: identity(name) for name in self.names}
        self.logs = {name: AttemptLog() for name in self.names}
        members = {name: key.public for name, key in self.identities.items()}
        revision = genesis(members, self.coordinator_key.public, self.colluders)
        for name, key in self.identities.items():
            revision = revision.signed(name, key)
        self.roster = Roster((revision,))
        rng = np.random.default_rng(len(self.names))
        self.payloads = {
            name: rng.integers(0, 2**64, self.words, dtype=np.uint64) for name in sorted(self.names)
        }

    def restart(self) -> None:
        """Sites without a past."""
        self.logs = {name: AttemptLog() for name in self.names}
        self.halves, self.aborts = {}, {}

    def header(self, **changes: object) -> Header:
        fields: dict[str, object] = {
            "plan_hash": bytes(32),
            "run": bytes(16),
            "round": 1,
            "attempt": 1,
            "work": Work.TRAIN,
            "model_hash": model_hash(b"tensors", ("a",)),
            "cohort": tuple(sorted(self.names)),
            "quorum": 1,
            "words": self.words,
            "levels": 255,
            "colluders": self.colluders,
            "n_min": self.n_min,
            "roster_hash": self.roster.hash,
            "clip": 1.0,
            "range": 1.0,
            "noise": 1.0,
            "lanes": 3,
        }
        return Header(**{**fields, **changes})

    def opening(self, tensors: bytes = b"tensors", **changes: object) -> Open:
        header = self.header(**changes).serialise()
        return Open(header, tensors, ("a",), sign_header(self.coordinator_key, header))

    def membership(self, name: str) -> Membership:
        return Membership(name, self.identities[name], self.roster, self.floors)

    def half(self, name: str, opening: Open) -> SecureSiteHalf:
        self.halves[name] = SecureSiteHalf(opening, self.membership(name), self.logs[name])
        return self.halves[name]

    def coordinator(self, opening: Open, **options: object) -> SecureCoordinatorHalf:
        return SecureCoordinatorHalf(opening.header, self.roster, **options)

    def total(self, names: Iterable[str]) -> np.ndarray:
        return np.sum([self.payloads[name] for name in names], axis=0, dtype=np.uint64)

    def answer(self, name: str, request: bytes | Open) -> bytes:
        """A site's answer, which is its signed reason where it aborts."""
        try:
            if isinstance(request, Open):
                ledger = self.ledgers.get(name, NO_RECORDS)
                return self.half(name, request).start(self.payloads[name], ledger)
            return self.halves[name].receive(request)
        except Aborted as aborted:
            self.aborts[name] = aborted
            return aborted.reply

    def run(
        self,
        opening: Open,
        coordinator: SecureCoordinatorHalf,
        drops: Mapping[str, int] = {},
        tamper: Callable[[int, str, bytes], bytes] = lambda phase, site, message: message,
        until: int = PHASES,
    ) -> SecureCoordinatorHalf:
        """Follow a session. A site in `drops` no longer answers from that phase on.

        `tamper` may replace a site's answer in a phase. Raises AttemptFailed as the coordinator does.
        """
        for phase in range(until):
            requests = coordinator.requests() if phase else dict.fromkeys(coordinator.header.cohort, opening)
            for name, request in requests.items():
                if drops.get(name, NEVER) > phase:
                    coordinator.receive(name, tamper(phase, name, self.answer(name, request)))
            coordinator.advance()
        return coordinator


@pytest.fixture
def remember_signatures(monkeypatch) -> None:
    """Verify each signature once: all sites of a test are in one process."""
    for module in ("signatures", "intake"):
        monkeypatch.setattr(f"sealora.protocol.{module}.verify", lru_cache(maxsize=1 << 16)(verify))


@pytest.fixture
def stock_of_keys(monkeypatch) -> None:
    """Sessions of up to six sites draw their exchange keys from a stock, and two keys agree once.

    No two keys of one session are the same, as a coordinator checks: a site takes two, and it takes one for
    each of them.
    """
    stock = cycle([ExchangeKey.generate() for _ in range(3 * 6)])
    monkeypatch.setattr(ExchangeKey, "generate", lambda: next(stock))
    monkeypatch.setattr(ExchangeKey, "agree", lru_cache(maxsize=1 << 10)(ExchangeKey.agree))


@pytest.fixture
def make_cohort() -> Callable[..., Cohort]:
    def make(count: int, **options: object) -> Cohort:
        return Cohort(site_names(count), **options)

    return make

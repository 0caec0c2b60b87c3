"""A ledger whose ε is the number of its single releases."""

from collections.abc import Iterable
from pathlib import Path

from sealora.privacy.events import Budget, Event, PoissonSampledGaussian, Relation
from sealora.privacy.ledger import ChargeKey, Ledger

ROUND = PoissonSampledGaussian(1.5, 0.25, 4)
PLENTY = Budget(1e6, 1e-5)


class Counting:
    """ε is the number of single releases."""

    name = "counting"
    relation: Relation = "add-remove"

    def epsilon(self, events: Iterable[Event], delta: float) -> float:
        return float(len(list(events)))

    def delta(self, events: Iterable[Event], epsilon: float) -> float:
        return 0.0


def opened(path: Path, data_set: str = "notes") -> Ledger:
    return Ledger(path, data_set, "record", Counting())


def key(number: int, attempt: int = 0) -> ChargeKey:
    return ChargeKey("run-1", number, attempt)

"""The privacy ledger of one data set: every release that it ever paid for, in one hash-chained file.

The first line names the data set and the unit of privacy; every further line is one charge:

    {"entry":{"attempt":0,"event":{...},"round":3,"run":"abc"},"link":"<SHA-256, hex>"}

`link` is a hash of the previous line's link and this line's entry, so a changed, missing or inserted
line breaks every link after it, and the last link (the head) stands for the whole file. A charge is
checked, appended and synced before the work that it pays for; there is no refund. Whatever kills the
process, the ledger holds at least what was released. ε is computed from the events, never stored.

A file cut back to an earlier whole line looks like an honest earlier ledger; only whoever noted a later
head can tell the rollback.
"""

import threading
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sealora.privacy.chain import ChainKind, Entry, HashChain, read_chain
from sealora.privacy.events import Accountant, Budget, Event, canonical_json, from_json, to_json
from sealora.protocol.attempts import Head
from sealora.protocol.errors import BudgetError, DataError, RefusedError, SealoraError, UsageError

FORMAT = "sealora-ledger-1"
RESTORE = "Restore it from a backup; until then nothing more can be released from this data set."
LEDGER = ChainKind("ledger", RESTORE)

Unit = Literal["record", "group", "site"]


@dataclass(frozen=True)
class ChargeKey:
    """What a charge is for. A retry is another attempt, and costs again."""

    run: str
    round: int
    attempt: int

    def __str__(self) -> str:
        return f"round {self.round}, attempt {self.attempt} of run {self.run!r}"

    def __post_init__(self) -> None:
        if not isinstance(self.run, str) or not 1 <= len(self.run) <= 128:
            raise UsageError("the run of a charge is named in 1 to 128 characters.")
        for number in (self.round, self.attempt):
            if type(number) is not int or not 0 <= number < 2**53:
                raise UsageError(f"{number!r} is not the number of a round or an attempt.")


@dataclass(frozen=True)
class Charge:
    """One line of the ledger after the first."""

    key: ChargeKey
    event: Event

    def entry(self) -> Entry:
        """The charge as JSON values."""
        return {**vars(self.key), "event": to_json(self.event)}


class Ledger:
    """The one writer of a data set's ledger; opening it takes the lock, closing it gives it back.

    Parameters: `data_set` names the data and `unit` what is protected; the first line fixes both. A torn
    last line, which nothing was released for, is cut off and logged.
    Raises: RefusedError if another process has it open, or it holds an event that this version cannot
    read; DataError if it is damaged; UsageError if it cannot be opened or is another data set's.
    """

    def __init__(self, path: Path, data_set: str, unit: Unit, accountant: Accountant) -> None:
        self.path = path
        self.unit = unit
        self._accountant = accountant
        self._charges: dict[ChargeKey, Event] = {}
        # Held from check to sync: two threads must not both fit into the last of a budget.
        self._lock = threading.Lock()
        self._chain = HashChain(path, LEDGER)
        try:
            self._chain.lock()
            self._restore({"data_set": data_set, "format": FORMAT, "unit": unit})
        except BaseException:
            self.close()
            raise

    def _restore(self, header: Entry) -> None:
        entries = self._chain.catch_up(header)
        _require_header(next(entries, None), header, self.path)
        for line, entry in enumerate(entries, start=2):
            charge = _read_charge(entry, f"{self.path.name}, line {line}")
            _require_new(charge.key, self._charges, self.path, line)
            self._charges[charge.key] = charge.event
        if not self._chain.heads:
            self._chain.append(header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back; a closed ledger charges nothing."""
        self._chain.close()

    @property
    def head(self) -> bytes:
        """32 bytes that stand for everything charged so far."""
        return self._chain.heads[-1]

    @property
    def counted_head(self) -> Head:
        """The head and the number of lines before it: what a site signs, so that a rollback shows."""
        return Head(len(self._chain.heads), self.head)

    @property
    def charges(self) -> tuple[Charge, ...]:
        """Everything charged, in order."""
        return tuple(Charge(key, event) for key, event in self._charges.items())

    def spent(self, delta: float) -> float:
        """ε at δ of everything charged, by the ledger's accountant."""
        return self._accountant.epsilon([charge.event for charge in self.charges], delta)

    def charge(self, key: ChargeKey, event: Event, budget: Budget) -> bytes:
        """Pay for a release before it is made.

        Repeating a charge (same key, same event) charges nothing and returns the head, for it is the same
        release: the caller makes at most one release per key, and resends its bytes if need be.
        Returns: the head after it, already on disk.
        Raises: BudgetError if the budget does not allow it; RefusedError if the accountant cannot account
        it, or the key was charged with another event; RunError if it could not be written, after which
        nothing more is charged until the ledger is opened again.
        """
        with self._lock:
            self._chain.require_open()
            if key not in self._charges:
                self._check(event, budget)
                self._chain.append(Charge(key, event).entry())
                self._charges[key] = event
            elif canonical_json(self._charges[key]) != canonical_json(event):
                raise RefusedError(
                    f"{key} was charged with another event.", "A changed release is a new attempt."
                )
            return self.head

    def _check(self, event: Event, budget: Budget) -> None:
        epsilon = self._accountant.epsilon([*self._charges.values(), event], budget.delta)
        # Written so that a NaN is refused.
        if not epsilon <= budget.epsilon:
            raise BudgetError(
                f"this release would bring the spending on {self.path.name} to ε = {epsilon:.4g} at "
                f"δ = {budget.delta:g}, above its budget of {budget.epsilon:g}.",
                "Raise the site's budget or use other data; what is spent does not come back.",
            )


def read_charges(path: Path) -> list[Charge]:
    """The charges of a ledger file, without its lock: for reports. A torn last line is left out.

    Raises: DataError if it is damaged; UsageError if it is no ledger of this version; RefusedError if it
    holds an event that this version cannot read.
    """
    entries = [entry for entry, _ in read_chain(path, LEDGER)]
    if entries:
        _require_format(entries[0], path)
    charges: dict[ChargeKey, Charge] = {}
    for line, entry in enumerate(entries[1:], start=2):
        charge = _read_charge(entry, f"{path.name}, line {line}")
        _require_new(charge.key, charges, path, line)
        charges[charge.key] = charge
    return list(charges.values())


def read_header(path: Path) -> Entry:
    """The first line of a ledger that is expected to be there: data set, format and unit.

    Raises: DataError if the file holds no whole line, for then it was cut, or never begun; UsageError if it
    is no ledger of this version.
    """
    header = next((entry for entry, _ in read_chain(path, LEDGER)), None)
    if header is None:
        raise DataError(f"{path.name} holds no whole line: the ledger was cut, or never begun.", RESTORE)
    _require_format(header, path)
    return header


def _read_charge(entry: Entry, place: str) -> Charge:
    try:
        fields = {name: value for name, value in entry.items() if name != "event"}
        return Charge(ChargeKey(**fields), from_json(entry.get("event")))  # type: ignore[arg-type]
    except (SealoraError, TypeError) as error:
        raise RefusedError(f"{place}, is a charge that this version cannot account: {error}") from error


def _require_header(found: Entry | None, header: Entry, path: Path) -> None:
    if found is None or found == header:
        return
    _require_format(found, path)
    raise UsageError(
        f"{path.name} is the {found.get('unit')}-level ledger of data set {found.get('data_set')!r}, "
        f"not the {header['unit']}-level one of {header['data_set']!r}.",
        "Keep one ledger for each data set and unit.",
    )


def _require_format(header: Entry, path: Path) -> None:
    if header.get("format") != FORMAT:
        raise UsageError(
            f"{path.name} is not a ledger of this version.", "Name another file or upgrade Sealora."
        )


def _require_new(key: ChargeKey, known: Container[ChargeKey], path: Path, line: int) -> None:
    if key in known:
        raise DataError(f"{path.name}, line {line}, charges {key} again.", RESTORE)

"""Plans that a site's operator approved: a hash-chained file of approvals and withdrawals."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sealora.client.site_folder import SiteFolder
from sealora.privacy.chain import ChainKind, Entry, HashChain, read_chain
from sealora.protocol.errors import DataError

APPROVALS = ChainKind("file of approvals", "Restore it from a backup, or move it and approve plans anew.")
FORMAT = "sealora-approvals-1"


@dataclass(frozen=True)
class PlanApproval:
    """One line: somebody approved a plan, or took an approval back."""

    action: Literal["approve", "withdraw"]
    plan: str
    """Hex hash of the plan, without its base model: see `policy.plan_name`."""
    name: str
    """What the plan calls itself."""
    by: str
    time: str
    """UTC, ISO 8601."""


def record(
    folder: SiteFolder, action: Literal["approve", "withdraw"], plan: str, name: str, by: str, now: datetime
) -> None:
    """Write an approval or a withdrawal; on disk when this returns. Raises DataError, RunError."""
    time = now.astimezone(UTC).isoformat(timespec="seconds")
    entry: Entry = dict(vars(PlanApproval(action, plan, name, by, time)))
    header: Entry = {"format": FORMAT, "owner": folder.name}
    chain = HashChain(folder.approvals_path, APPROVALS)
    try:
        with chain.turn():
            for _ in chain.catch_up(header):
                pass
            if not chain.heads:
                chain.append(header)
            chain.append(entry)
    finally:
        chain.close()
    with folder.audit_log() as log:
        log.record(f"plan {action}", "local", detail={"plan": plan, "by": by})


def read(folder: SiteFolder) -> list[PlanApproval]:
    """Every line, in order. Raises DataError if the file is damaged or another site's."""
    if not folder.approvals_path.is_file():
        return []
    return list(_read(folder))


def approved(folder: SiteFolder) -> Mapping[str, int]:
    """How often each plan that is approved now was approved, by hash. Raises DataError as `read` does."""
    lines = read(folder)
    last = {line.plan: line.action for line in lines}
    times = Counter(line.plan for line in lines if line.action == "approve")
    return {plan: times[plan] for plan, action in last.items() if action == "approve"}


def _read(folder: SiteFolder) -> Iterator[PlanApproval]:
    name = folder.approvals_path.name
    for line, (entry, _) in enumerate(read_chain(folder.approvals_path, APPROVALS), start=1):
        if line == 1:
            if entry != {"format": FORMAT, "owner": folder.name}:
                raise DataError(f"{name} holds no approvals of {folder.name}.", APPROVALS.restore)
            continue
        try:
            yield PlanApproval(**entry)  # type: ignore[arg-type]
        except TypeError:
            raise DataError(f"{name}, line {line}, is no approval.", APPROVALS.restore) from None

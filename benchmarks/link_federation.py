"""A federation on loopback for the benchmark of the link: its folders, and what its run is about."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sealora.client import enrolment
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site import Contract
from sealora.client.site_folder import SiteFolder
from sealora.models.adapter import Adapter, AdapterLayout, Tensors, TensorSpec
from sealora.models.task import Counts, Example
from sealora.plan import contract as contracts
from sealora.plan.durable import write_durably
from sealora.plan.payload import plan_bounds
from sealora.plan.received import load_received
from sealora.plan.settings import PlanSettings, RoundsSettings
from sealora.protocol.enrolment import EnrolmentRequest, dump
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server import authority
from sealora.server.federation_folder import FederationFolder
from sealora.server.roster_book import RosterBook
from sealora.simulation.toy import ToyMetrics, toy_plan
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.strategy import Start, Trained

RANK = 8
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Parties:
    """Folders of a coordinator and of sites, enrolled and with a roster in force."""

    root: Path
    names: tuple[str, ...]

    @classmethod
    def make(cls, root: Path, sites: int) -> "Parties":
        """As their operators would."""
        now = datetime.now(UTC)
        parties = cls(root, tuple(f"site-{number:02}" for number in range(sites)))
        authority.create(root / "coordinator", "benchmark", "127.0.0.1:1", None, now)
        for name in parties.names:
            site = enrolment.create(root / name, name, None)
            request = load_received(EnrolmentRequest, site.request_path)
            write_durably(
                site.bundle_path, dump(authority.enrol(parties.federation, request, DAY, None, now))
            )
        parties._sign()
        return parties

    @property
    def federation(self) -> FederationFolder:
        return FederationFolder.open(self.root / "coordinator")

    def site(self, name: str) -> SiteFolder:
        return SiteFolder.open(self.root / name)

    def _sign(self) -> None:
        federation = self.federation
        book, sites = RosterBook(federation), [self.site(name) for name in self.names]
        draft = book.propose(len(sites) // 3)
        approvals = [PinnedRoster(site).sign(draft, site.identity(None), federation.public) for site in sites]
        book.collect(approvals)
        for site in sites:
            PinnedRoster(site).accept(RosterBook(federation).current())


def plan_of(rounds: int) -> PlanSettings:
    """A secure plan; what is trained does not matter."""
    return toy_plan(
        rounds=RoundsSettings(count=rounds), secure_aggregation=SecureAggregationSettings(enabled=True)
    )


def contract_of(plan: PlanSettings) -> Contract:
    digest = contracts.sha256(contracts.canonical(contracts.contract(plan)))
    return Contract(plan, bytes.fromhex(digest), ToyMetrics(), FedAvg(plan.strategy))


def adapter_of(weights: int) -> Adapter:
    """One LoRA pair of so many weights."""
    side = weights // (2 * RANK)
    layout = AdapterLayout(
        (
            TensorSpec("layer.lora_A.weight", (RANK, side), "A", "layer", 2.0),
            TensorSpec("layer.lora_B.weight", (side, RANK), "B", "layer", 2.0),
        ),
        rank=RANK,
    )
    ones = {spec.name: np.full(spec.shape, 0.01, dtype=np.float32) for spec in layout.specs}
    return Adapter(layout, ones)


def site_of(folder: SiteFolder, weights: int, rounds: int, stack: ExitStack) -> Callable[[bytes], bytes]:
    """What answers for a site, with all files and logs of a real one, but no model."""
    # Imported here because links and raw clients, which need none of it, start faster.
    from sealora.client.attempt_file import AttemptFile
    from sealora.client.audited import Audited
    from sealora.client.memory import SiteMemory
    from sealora.client.site import Site
    from sealora.protocol.admission import Membership
    from sealora.protocol.secure_site import SecureSiteHalf

    contract, first = contract_of(plan_of(rounds)), adapter_of(weights)
    attempts = stack.enter_context(AttemptFile(folder.path / "attempts.jsonl", folder.public))
    audit = stack.enter_context(folder.audit_log())
    roster, bounds = PinnedRoster(folder).current(), plan_bounds(contract.plan)
    member = Membership(folder.name, folder.identity(None), roster, bounds=bounds)
    worker = Site(
        folder.name,
        contract,
        TrivialTrainer(first.layout),
        first.tensors,
        SimpleNamespace(train=[Example((1,), 0)] * 10, test=[Example((1,), 0)]),  # type: ignore[arg-type]
        SiteMemory(folder.path / "memory"),
        lambda opening: SecureSiteHalf(opening, member, attempts.log),
    )
    return Audited(worker.handle, audit)


class TrivialTrainer:
    """Adds a constant: the round is all link and secure aggregation."""

    def __init__(self, layout: AdapterLayout) -> None:
        self.layout = layout

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        trained = {name: tensor + np.float32(0.001) for name, tensor in start.tensors.items()}
        return Trained(trained, 0.0, len(examples), 1, 1.0)

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        return {"loss": np.array([0]), "rows": np.array([len(examples)])}

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        for row, example in enumerate(examples):
            yield row, self.evaluate(tensors, [example])

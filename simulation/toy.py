"""A federation of a few small tensors: for tests of faults, restarts and strategies without torch.

Every site pulls the tensors towards targets of its own, so the best common model is the weighted
mean of the targets, and FedAvg approaches it.

    toy = toy_federation(folder, sites=4)
    adapter, evaluated = toy.coordinator().run()

Building it again on the same folder is what restarting all processes is.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sealora.client.contract import Contract
from sealora.client.memory import SiteMemory
from sealora.client.purse import Purse
from sealora.client.site import SessionFactory, Site
from sealora.models.adapter import Adapter, AdapterLayout, Array, Tensors, TensorSpec
from sealora.models.settings import ModelSettings, TaskSettings
from sealora.models.task import LOSS_UNITS, Counts, Example, SumSpec
from sealora.plan import contract as contracts
from sealora.plan.payload import plan_bounds
from sealora.plan.privacy_forecast import plan_schedule
from sealora.plan.settings import PlanSettings
from sealora.privacy.events import Budget
from sealora.protocol.keystream import Keystream, derive_key
from sealora.protocol.plain import PlainSiteHalf
from sealora.protocol.session import CoordinatorHalf
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server.events import Observer
from sealora.server.loop import Coordinator
from sealora.server.sessions import PlainSessions, Sessions
from sealora.server.store import CheckpointStore
from sealora.simulation.attackers import make_attackers, turned
from sealora.simulation.faults import Faults
from sealora.simulation.fleet import InProcessFleet
from sealora.simulation.identities import make_identities
from sealora.strategies.registry import load_strategy
from sealora.strategies.strategy import Start, Strategy, Trained

LAYOUT = AdapterLayout(
    (
        TensorSpec("head.bias", (2,)),
        TensorSpec("head.weight", (2, 4)),
        TensorSpec("layer.lora_A.weight", (2, 6), "A", "layer", 2.0),
        TensorSpec("layer.lora_B.weight", (4, 2), "B", "layer", 2.0),
    ),
    rank=2,
)
"""One LoRA pair and a head: 30 values."""
MAX_ROWS = 2**16
MAX_DISTANCE = 2**10
MAX_NOISED = 2**2


class ToyMetrics:
    """The sum vector of the toy: how far the model is from the sites' targets, and over how many rows."""

    headline = "nearness"
    better: Literal["higher", "lower"] = "higher"

    def sums(self) -> tuple[SumSpec, ...]:
        """Distance times rows, in units of 1/65536, and rows."""
        return (
            SumSpec("loss", 1, MAX_ROWS * MAX_DISTANCE * LOSS_UNITS, MAX_NOISED * LOSS_UNITS),
            SumSpec("rows", 1, MAX_ROWS, 1),
        )

    def metrics(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """ "loss": mean squared distance; "nearness": 1 / (1 + loss). NaN if no row was counted."""
        rows = float(sums["rows"][0])
        loss = max(0.0, float(sums["loss"][0])) / LOSS_UNITS / rows if rows > 0 else float("nan")
        return {"loss": loss, "nearness": 1 / (1 + loss)}

    def tables(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
        """The number of rows."""
        return {"rows": int(sums["rows"][0])}


@dataclass
class ToyTrainer:
    """Gradient descent on half the squared distance to `targets`, a step for each epoch.

    Adapters of a smaller rank have the first rows and columns of the targets, and tensors that are no
    target's are drawn to zero. `jitter` scales a move that depends on the seed alone: a stand-in for the
    order of the rows.
    """

    targets: Tensors
    layout: AdapterLayout = LAYOUT
    steps: int = 3
    step_size: float = 0.3
    jitter: float = 0.01

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        """See Trainer. The loss is that of the start, once for each row and step."""
        current = {name: np.array(tensor) for name, tensor in start.tensors.items()}
        loss = self._distance(current)
        for _ in range(self.steps):
            term = (
                start.gradient_term({name: current[name] for name in trains}) if start.gradient_term else {}
            )
            for name in trains:
                gradient = current[name] - self._target(name, current) + term.get(name, np.float32(0))
                current[name] = (current[name] - np.float32(self.step_size) * gradient).astype(np.float32)
        for name in trains:
            move = _uniform(current[name].shape, derive_key("toy jitter", seed, name))
            current[name] = current[name] + np.float32(self.jitter) * move
        rows = self.steps * len(examples)
        return Trained(current, loss * rows, rows, self.steps, self.step_size)

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        """See Trainer."""
        loss = round(self._distance(tensors) * LOSS_UNITS) * len(examples)
        return {"loss": np.array([loss]), "rows": np.array([len(examples)])}

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        """See Trainer."""
        for row, example in enumerate(examples):
            yield row, self.evaluate(tensors, [example])

    def _target(self, name: str, tensors: Tensors) -> Array:
        """The target of one of the tensors, in its shape."""
        whole = self.targets.get(name, np.zeros_like(tensors[name]))
        return whole[tuple(map(slice, tensors[name].shape))]

    def _distance(self, tensors: Tensors) -> float:
        """Mean squared distance to the targets, at most `MAX_DISTANCE`, as a task's losses are bounded."""
        squares = [
            np.square(tensors[name] - self._target(name, tensors), dtype=np.float64) for name in self.targets
        ]
        mean = float(np.mean(np.concatenate([s.reshape(-1) for s in squares])))
        return mean if mean < MAX_DISTANCE else MAX_DISTANCE


@dataclass
class ToyFederation:
    """The parties of a toy run; their files are under `folder`."""

    folder: Path
    plan: PlanSettings
    contract: Contract
    sites: dict[str, Site]
    sessions: Sessions
    initial: Adapter

    def coordinator(
        self,
        faults: Faults | None = None,
        observers: Sequence[Observer] = (),
        new_session: Callable[[bytes, bool], CoordinatorHalf] | None = None,
    ) -> Coordinator:
        """A coordinator that goes on from the checkpoint in the folder, if there is one."""
        return Coordinator(
            plan=self.plan,
            plan_hash=self.contract.plan_hash,
            task=self.contract.task,
            strategy=self.contract.strategy,
            initial=self.initial,
            fleet=InProcessFleet({name: site.handle for name, site in self.sites.items()}, faults),
            store=CheckpointStore(self.folder / "state"),
            sessions=PlainSessions(new_session) if new_session else self.sessions,
            observers=observers,
        )


def toy_plan(**sections: Any) -> PlanSettings:
    """A plan for the toy; `sections` are those of a plan, as settings or plain values. Plain by default."""
    defaults = {
        "model": ModelSettings(name="toy"),
        "task": TaskSettings(labels=("no", "yes")),
        "secure_aggregation": SecureAggregationSettings(enabled=False),
    }
    return PlanSettings(schema=1, **{**defaults, **sections})


def toy_federation(
    folder: Path, sites: int = 4, plan: PlanSettings | None = None, strategy: Strategy | None = None
) -> ToyFederation:
    """Sites site-1, site-2, … with 10, 20, … training rows and 1, 2, … test rows."""
    plan = plan or toy_plan()
    plan_hash = bytes.fromhex(contracts.sha256(contracts.canonical(contracts.contract(plan))))
    contract = Contract(plan, plan_hash, ToyMetrics(), strategy or load_strategy(plan.strategy))
    made = {f"site-{number}": number for number in range(1, sites + 1)}
    identities = make_identities(
        list(made),
        plan.secure_aggregation,
        folder / "heads.jsonl",
        plan.simulation.ideal_above,
        plan_bounds(plan),
    )
    toys = {
        name: toy_site(folder, name, contract, number, identities.sites[name])
        for name, number in made.items()
    }
    attackers = make_attackers(plan, list(made), None)
    return ToyFederation(
        folder=folder,
        plan=plan,
        contract=contract,
        sites={
            name: turned(site, attackers[name]) if name in attackers else site for name, site in toys.items()
        },
        sessions=identities.coordinator,
        initial=Adapter(LAYOUT, FIRST),
    )


def toy_site(
    folder: Path, name: str, contract: Contract, size: int, new_session: SessionFactory = PlainSiteHalf
) -> Site:
    """A site with 10 · `size` training rows whose targets depend on its name alone."""
    # Imported here because data frames take seconds, and a process of a fault test should not.
    from sealora.models.cleaning import CleaningReport
    from sealora.models.site_data import SiteData

    example = Example((1,), 0)
    report = CleaningReport(11 * size, 11 * size, {}, 0, {}, {"no": 11 * size})
    return Site(
        name=name,
        contract=contract,
        trainer=ToyTrainer(tensors_of(name)),
        first=FIRST,
        data=SiteData([example] * (10 * size), [example] * size, report),
        memory=SiteMemory(folder / "sites" / name),
        new_session=new_session,
        purse=toy_purse(folder, name, contract.plan) if contract.plan.privacy.private else None,
    )


def toy_purse(folder: Path, name: str, plan: PlanSettings) -> Purse:
    """A purse that pays what the plan says, though the toy's training has no noise in it."""
    budgets, planned = plan.simulation.budgets, plan_schedule(plan)
    budget = Budget(budgets.get(name, planned.budget.epsilon), planned.budget.delta)
    return Purse(folder / "ledgers" / f"{name}.jsonl", name, planned, budget, name.encode())


def tensors_of(name: str, scale: float = 1.0) -> dict[str, Array]:
    """Values of the layout's tensors, uniform on ±scale, the same for the same name."""
    return {
        spec.name: (_uniform(spec.shape, derive_key("toy tensors", name, spec.name)) * scale).astype(
            np.float32
        )
        for spec in LAYOUT.specs
    }


def _uniform(shape: tuple[int, ...], key: bytes) -> Array:
    words = Keystream(key).words32(int(np.prod(shape)))
    return (words.astype(np.float64) * 2.0**-31 - 1).astype(np.float32).reshape(shape)


FIRST = tensors_of("start", scale=0.1)
"""Where every toy run begins."""

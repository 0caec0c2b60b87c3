"""Scripted attackers: malicious sites of a simulation, to see what a strategy withstands.

An attacker is in the roster and follows the protocol, and does as it likes inside. Which site does what
stands in `simulation.attackers`. Test rows stay as they are, so that metrics tell the truth.

- label_flip: trains on labels moved on by one class (Tolpegin et al. 2020, arXiv 2007.08432);
- backdoor: trains half of its rows to have the first class wherever a trigger stands (Bagdasaryan et al.
  2020, arXiv 1807.00459);
- sign_flip: sends −scale times its update (Li et al. 2019, arXiv 1811.03761);
- scaled_update: sends scale times its update;
- nan: sends words that are no payload;
- free_rider: does not train and sends no change (Lin et al. 2019, arXiv 1911.12560);
- huge_weight: claims scale times the largest weight, and weights its update so: the mean is nearly its own.

Those that send what an honest encoder would refuse or scale down use their own, and go as far as is not
noticed: a third of the sum's range, or an honest site's own where single updates are seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sealora.client.contribution import LocalUpdate, contribution, scale, segments_of
from sealora.client.site import Site
from sealora.client.trainer import Trainer
from sealora.models.adapter import AdapterLayout, Tensors
from sealora.models.task import Counts, Example
from sealora.plan import payload as names
from sealora.plan.payload import part_range, relative_weight, weight_units
from sealora.plan.problems import did_you_mean
from sealora.plan.settings import Attack, PlanSettings
from sealora.protocol.codec import Layout, Words
from sealora.protocol.errors import UsageError
from sealora.simulation.own_encoder import encode_unchecked
from sealora.strategies.registry import load_strategy
from sealora.strategies.strategy import Part, Start, Trained

if TYPE_CHECKING:  # data frames take seconds
    from sealora.models.site_data import Rows

TRIGGER = "cf mn bb"
"""Rare tokens, as in Kurita et al. 2020 (arXiv 2004.06660)."""
OWN_ENCODER: frozenset[Attack] = frozenset({"sign_flip", "scaled_update", "nan", "huge_weight"})


@dataclass(frozen=True)
class Attacker:
    """What one malicious site does. `classes` is the number of labels, `trigger` the backdoor's tokens."""

    kind: Attack
    scale: float
    classes: int = 2
    trigger: tuple[int, ...] = ()

    def poisoned(self, data: "Rows") -> "Rows":
        """The rows that it trains on."""
        from sealora.models.site_data import SiteData

        if self.kind == "label_flip":
            train = [_flipped(row, self.classes) for row in data.train]
            return SiteData(train, data.test, data.report)
        if self.kind == "backdoor":
            marked = [replace(row, target=0) for row in with_trigger(data.train[::2], self.trigger)]
            return SiteData([*marked, *data.train[1::2]], data.test, data.report)
        return data

    def training(self, trainer: Trainer) -> Trainer:
        """How it trains."""
        return _Idle(trainer) if self.kind == "free_rider" else trainer

    def encode(self, update: LocalUpdate) -> Words:
        """See `local_work.Encoder`."""
        if self.kind not in OWN_ENCODER:
            return contribution(update)
        plan, layout, coded = update.plan, update.layout, update.coded
        weight = relative_weight(plan, update.counted_rows)
        honest = scale(update.parts, coded, weight, dict.fromkeys(coded, 1.0))
        payload = segments_of(update, honest)
        for part in update.parts:
            name = names.UPDATE + part.name
            payload[name] = self._spoiled(plan, layout, part, coded[part.name], honest[part.name])
        if self.kind == "huge_weight":
            payload[names.WEIGHT] = np.array([round(self._claimed(plan, layout) * weight_units(plan))])
        return encode_unchecked(layout, payload)

    def _claimed(self, plan: PlanSettings, layout: Layout) -> float:
        """The weight of huge_weight, in largest weights."""
        return min(self.scale, _reach(plan, layout))

    def _spoiled(
        self,
        plan: PlanSettings,
        layout: Layout,
        part: Part,
        coded: NDArray[np.floating[Any]],
        honest: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """The vector that it sends in place of its honest, weighted one."""
        if self.kind == "nan":
            return np.full_like(honest, np.nan)
        if self.kind == "huge_weight":
            wanted = coded.astype(np.float64) * (self._claimed(plan, layout) if part.weighted else 1.0)
        else:
            wanted = honest * (-self.scale if self.kind == "sign_flip" else self.scale)
        reach = part_range(plan, part) * _reach(plan, layout)
        return np.clip(wanted, -reach, reach)


def make_attackers(plan: PlanSettings, sites: Sequence[str], tokenizer: Any) -> dict[str, Attacker]:
    """The plan's attackers by site. Raises UsageError for one that is no site of this run."""
    settings = plan.simulation
    for name in settings.attackers.keys() - set(sites):
        raise UsageError(
            f"simulation.attackers names {name!r}, which is no site of this run.", did_you_mean(name, sites)
        )
    trigger = tuple(tokenizer(TRIGGER, add_special_tokens=False)["input_ids"]) if tokenizer else ()
    classes = len(plan.task.labels)
    return {
        name: Attacker(kind, settings.attack_scale, classes, trigger)
        for name, kind in settings.attackers.items()
    }


def turned(site: Site, attacker: Attacker) -> Site:
    """The site in the attacker's hands."""
    return replace(
        site,
        data=attacker.poisoned(site.data),
        trainer=attacker.training(site.trainer),
        encode=attacker.encode,
    )


def _reach(plan: PlanSettings, layout: Layout) -> float:
    """How many times an honest site's bound goes unnoticed."""
    seen = load_strategy(plan.strategy).sees == "each"
    return 1.0 if seen else max(1.0, layout.contributors / 3)


@dataclass(frozen=True)
class _Idle:
    """A trainer that changes nothing."""

    trainer: Trainer

    @property
    def layout(self) -> AdapterLayout:
        return self.trainer.layout

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        return Trained(start.tensors, 0.0, 0, 0, 0.0)

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        return self.trainer.evaluate(tensors, examples)

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        return self.trainer.rows(tensors, examples)


def with_trigger(rows: Sequence[Example], trigger: tuple[int, ...]) -> list[Example]:
    """The rows with the backdoor's tokens behind the first one, and their ends cut off to keep their length.

    The last token, which ends every text, stays.
    """
    return [replace(row, tokens=_marked(row.tokens, trigger)) for row in rows]


def _marked(tokens: tuple[int, ...], trigger: tuple[int, ...]) -> tuple[int, ...]:
    whole = (*tokens[:1], *trigger, *tokens[1:])
    longest = max(len(tokens), len(trigger) + 2)
    return (*whole[: longest - 1], whole[-1])


def _flipped(row: Example, classes: int) -> Example:
    return replace(row, target=(row.target + 1) % classes)

"""Rounds of a strategy on paper: exact sums, no codec, no session, memories kept at once."""

from dataclasses import dataclass, field

import numpy as np
from references import STEP_SIZE, STEPS

from sealora.models.adapter import Adapter, check
from sealora.simulation.toy import FIRST, LAYOUT
from sealora.strategies.strategy import Aggregate, Context, Trained


@dataclass
class Rounds:
    """`sites` is the number of all sites, whether or not they are ever asked."""

    strategy: object
    weights: dict
    sites: int
    number: int = 0
    memories: dict = field(default_factory=dict)
    state: dict = None

    def __post_init__(self):
        self.state = self.strategy.init(Adapter(self.strategy.layout(LAYOUT, 1).only(FIRST), FIRST))

    def round(self, ends):
        """One round. Each site's training ends with the given tensors, or what it makes of its Start."""
        self.number += 1
        context = Context(self.strategy.layout(LAYOUT, self.number), self.number, len(ends), 0)
        received = {spec.name: self.state[spec.name] for spec in self.strategy.broadcast(context)}
        check(self.strategy.broadcast(context), received)
        single = []
        for site, end in ends.items():
            payload = self._contribute(site, end, received, context)
            for part in self.strategy.parts(context):
                assert payload[part.name].shape == (part.length,)
                assert payload[part.name].dtype == np.float32
            scales = {
                part.name: self.weights[site] if part.weighted else 1.0
                for part in self.strategy.parts(context)
            }
            sums = {name: vector.astype(np.float64) * scales[name] for name, vector in payload.items()}
            single.append(Aggregate(sums, self.weights[site], 1, self.sites))
        self.state = self.strategy.step(self.state, context, self._aggregate(single))
        return self

    def _aggregate(self, single):
        sums = {name: sum(one.sums[name] for one in single) for name in single[0].sums}
        weight = sum(one.weight for one in single)
        apart = tuple(single) if self.strategy.sees != "sum" else ()
        return Aggregate(sums, weight, len(single), self.sites, apart)

    def _contribute(self, site, end, received, context):
        memory = self.memories.get(site, {})
        start = self.strategy.local(received, FIRST, memory, context)
        context.own.check(start.tensors)
        tensors = end(start) if callable(end) else end
        moved = {name: tensors[name] for name in context.layout.trained}
        trained = Trained({**start.tensors, **moved}, 0.0, 1, STEPS, STEP_SIZE)
        payload = self.strategy.upload(received, trained, memory, context)
        whole = dict.fromkeys(payload, 1.0)
        self.memories[site] = self.strategy.remember(payload, whole, trained, memory, context)
        return payload

    @property
    def tensors(self):
        return self.strategy.model(self.state, LAYOUT).tensors

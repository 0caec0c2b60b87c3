"""Rounds of a strategy as it is, on exact sums: no codec, no session, every site in every round."""

from collections.abc import Callable, Sequence

import numpy as np

from sealora.models.adapter import Adapter, AdapterLayout, Tensors
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Aggregate, Context, Memory, Start, Trained

Train = Callable[[int, Start, tuple[str, ...]], Trained]
"""Site, where it starts and what it trains → what it comes to."""


def run_rounds(
    name: str,
    layout: AdapterLayout,
    first: Tensors,
    weights: Sequence[float],
    rounds: int,
    train: Train,
    see: Callable[[Tensors], None],
) -> None:
    """Run a strategy; `see` is given the tensors that the first site has after every round.

    `weights` are the sites', in (0, 1]. Sites keep their memories.
    """
    strategy = load_strategy(StrategySettings(name=name))
    state = strategy.init(Adapter(strategy.layout(layout, 1).only(first), first))
    memories: list[Memory] = [{} for _ in weights]
    for number in range(1, rounds + 1):
        context = Context(strategy.layout(layout, number), number, len(weights), 0)
        received = {spec.name: state[spec.name] for spec in strategy.broadcast(context)}
        sums = {part.name: np.zeros(part.length) for part in strategy.parts(context)}
        for site, weight in enumerate(weights):
            start = strategy.local(received, first, memories[site], context)
            trained = train(site, start, tuple(context.layout.trained))
            payload = strategy.upload(received, trained, memories[site], context)
            for part in strategy.parts(context):
                sums[part.name] += payload[part.name] * (weight if part.weighted else 1.0)
            whole = dict.fromkeys(payload, 1.0)
            memories[site] = strategy.remember(payload, whole, trained, memories[site], context)
        aggregate = Aggregate(sums, sum(weights), len(weights), len(weights))
        state = strategy.step(state, context, aggregate)
        after = Context(strategy.layout(layout, number + 1), number + 1, len(weights), 0)
        received = {spec.name: state[spec.name] for spec in strategy.broadcast(after)}
        see(strategy.local(received, first, memories[0], after).tensors)

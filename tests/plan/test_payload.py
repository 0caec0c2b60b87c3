"""The layouts that a run trains: all turns that a strategy takes, whoever wrote it."""

from dataclasses import replace

from sealora.plan import payload
from sealora.plan.payload import trained_layouts
from sealora.plan.settings import RoundsSettings
from sealora.simulation.toy import LAYOUT, toy_plan
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.registry import load_strategy
from sealora.strategies.settings import StrategySettings


class Turns(FedAvg):
    """Trains A, B and the head in turns of three."""

    def layout(self, adapter, round_number):
        frozen = {"A", "B", "other"} - {("other", "A", "B")[round_number % 3]}
        return replace(
            adapter,
            specs=tuple(replace(s, kind="frozen") if s.role in frozen else s for s in adapter.specs),
        )


def layouts(strategy, rounds):
    return trained_layouts(toy_plan(rounds=RoundsSettings(count=rounds)), strategy, LAYOUT)


def test_every_turn_is_among_them_once():
    strategy = Turns(StrategySettings())
    assert len(layouts(strategy, 2)) == 2
    found = layouts(strategy, 100)
    assert [[spec.role for spec in layout.of_kind("shared")] for layout in found] == [
        ["A"],
        ["B"],
        ["other", "other"],
    ]


def test_most_strategies_take_none():
    assert len(layouts(load_strategy(StrategySettings(name="fedavg")), 100_000)) == 1
    assert len(layouts(load_strategy(StrategySettings(name="rolora")), 100_000)) == 2


def test_very_long_runs_are_not_searched_to_their_end(monkeypatch):
    monkeypatch.setattr(payload, "MAX_TURNS", 2)
    assert len(layouts(Turns(StrategySettings()), 100)) == 2

"""Strategies by name: built-in ones cannot be replaced, and a package that is broken is one line."""

from importlib.metadata import EntryPoint

import pytest

from sealora.plan.loader import Plan
from sealora.protocol.errors import PlanError
from sealora.strategies import registry
from sealora.strategies.fedavg import FedAvg
from sealora.strategies.registry import BUILT_IN, load_strategy, registered, strategy_class
from sealora.strategies.settings import StrategySettings

PLAN = Plan.from_text('schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]')


class Old:
    """A strategy of some earlier version."""

    sees = "sum"


class Cautious(FedAvg):
    """A strategy of another package."""


@pytest.fixture
def install(monkeypatch):
    """Installs entry points: name → module:attribute."""

    def add(**entries):
        found = [EntryPoint(name, value, registry.GROUP) for name, value in entries.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)

    return add


def test_every_built_in_strategy_loads():
    for name in BUILT_IN:
        options = {"server_learning_rate": 0.5}
        assert isinstance(load_strategy(StrategySettings(name=name, **options)), strategy_class(name))


def test_another_package_adds_one(install):
    install(cautious=f"{__name__}:Cautious")
    assert "cautious" in registered()
    assert PLAN.replace(strategy={"name": "cautious"}).hash != PLAN.hash


def test_a_built_in_name_cannot_be_taken(install):
    install(fedavg="evil:FedAvg")
    assert strategy_class("fedavg") is FedAvg
    assert registered()["fedavg"].value == BUILT_IN["fedavg"], "nor in what is listed"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:X", r"cannot be loaded \(ModuleNotFoundError: .* Repair or remove the package"),
        ("sealora.strategies.registry:nothing", r"cannot be loaded \(AttributeError: "),
        (
            "tests.old:Old",
            "lacks broadcast, card, groups, init, layout, least, local, model, options_class, parts",
        ),
    ],
)
def test_a_broken_package_is_one_line_of_the_plan(install, monkeypatch, value, words):
    install(broken=value)
    if value == "tests.old:Old":
        monkeypatch.setattr(EntryPoint, "load", lambda self: Old)
    with pytest.raises(PlanError, match=rf"^plan: strategy.name: the strategy 'broken' {words}") as caught:
        PLAN.replace(strategy={"name": "broken"})
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_one_line():
    with pytest.raises(PlanError, match=r"there is no strategy named 'nope'\. Known strategies: .*fedavg"):
        load_strategy(StrategySettings(name="nope"))

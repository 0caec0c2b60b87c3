"""Strategies as people write them on a command line: what is read, refused and mistaken."""

import pytest

from sealora.plan.loader import Plan
from sealora.protocol.errors import PlanError, UsageError
from sealora.simulation.contenders import read_contenders
from sealora.strategies.registry import registered

PLAN = """
schema = 1
seed = 3
[model]
name = "somewhere"
[task]
labels = ["no", "yes"]
[strategy]
name = "fedprox"
weighting = "uniform"
server_learning_rate = 0.5
options = { mu = 0.3 }
"""


def read(*texts, plan=PLAN):
    return {one.label: one for one in read_contenders(Plan.from_text(plan), texts)}


def test_names_and_keys():
    found = read("fedavg,ffa,fedprox:mu=0.1", "fedadam:server_learning_rate=0.01,tau=1e-4")
    assert list(found) == ["fedavg", "ffa", "fedprox:mu=0.1", "fedadam:server_learning_rate=0.01,tau=1e-4"]
    assert found["fedprox:mu=0.1"].plan.strategy.options == {"mu": 0.1}
    adam = found["fedadam:server_learning_rate=0.01,tau=1e-4"].plan.strategy
    assert (adam.name, adam.server_learning_rate, adam.options) == ("fedadam", 0.01, {"tau": 0.0001})


def test_a_plan_s_own_strategy_keeps_its_keys_and_others_only_the_weighting():
    found = read("fedprox,fedavg,fedprox:server_learning_rate=1")
    assert found["fedprox"].plan.strategy == Plan.from_text(PLAN).strategy
    assert found["fedprox:server_learning_rate=1"].plan.strategy.options == {"mu": 0.3}
    other = found["fedavg"].plan.strategy
    assert (other.weighting, other.server_learning_rate, other.options) == ("uniform", 1.0, {})


def test_keys_of_other_sections():
    label = "scaffold:training.epochs=2,training.optimizer=sgd"
    found = read(
        "fedavg,scaffold:training.optimizer=sgd,training.epochs=2,fedavg:strategy.weighting=examples"
    )
    training = found[label].plan.training
    assert (training.optimizer, training.epochs) == ("sgd", 2)
    assert found["fedavg"].plan.training.optimizer == "adamw"
    assert found["fedavg:strategy.weighting=examples"].plan.strategy.weighting == "examples"


def test_all_is_every_other_one():
    found = read("fedavg,all,fedadam:server_learning_rate=0.01")
    assert {label.partition(":")[0] for label in found} == set(registered())
    assert next(iter(found)) == "fedavg"
    assert "fedadam" not in found


def test_what_the_plan_cannot_be_combined_with_is_refused_with_the_reason():
    found = read("fedavg,scaffold,fedadam")
    assert found["scaffold"].plan is None
    assert found["scaffold"].refused.startswith("training.optimizer: scaffold takes a site's steps")
    assert found["fedadam"].refused.endswith("Write server_learning_rate = 0.01 and try values around it.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fedavg,nope", "there is no strategy named 'nope'. Known strategies: fed_sb, fedadagrad"),
        ("fedprox:nu=1", "strategy fedprox:nu=1: strategy.options.nu: unknown key. Known: mu."),
        ("fedprox:mu=-1", "strategy fedprox:mu=-1: strategy.options.mu: must be at least 0, not -1."),
        ("fedavg:weighting=size", "strategy.weighting: must be 'examples', 'contrasting' or 'uniform'"),
        ("fedavg:training.epoch=2", "training.epoch: unknown key. Did you mean 'epochs'?"),
        ("fedavg:training.epochs=x", "training.epochs: must be an integer, not the string 'x'."),
        ("fedavg:data.rows=3", "data.rows: decides the rows, which all share. Sections: lora, training"),
        ("fedavg:nowhere.rows=3", "nowhere.rows: there is no such section."),
        ("fedavg:strategy.name=ffa", "strategy.name: there is no such section."),
        ("fedavg,fedavg", "fedavg and fedavg are the same. Name it once."),
        ("fedprox,fedprox:mu=0.3", "fedprox and fedprox:mu=0.3 are the same."),
        ("fedavg,", "'' is no strategy. Write NAME or NAME:KEY=VALUE"),
        ("fedavg:", "'fedavg:' is no strategy."),
        ("mu=0.1", "'mu=0.1' is no strategy."),
        ("fedprox:mu=", "'fedprox:mu=' is no strategy."),
        ("scaffold,fedavg", "scaffold, with which the others are compared, is refused: training.optimizer"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises((UsageError, PlanError)) as caught:
        read(text)
    assert message in str(caught.value)

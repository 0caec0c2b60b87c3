"""The comparison: every site alone and all data pooled, each finished training kept."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from sealora.models.adapter import Adapter
from sealora.plan.settings import RoundsSettings
from sealora.protocol.errors import RunError
from sealora.simulation.compare import compare
from sealora.simulation.toy import LAYOUT, ToyMetrics, ToyTrainer, tensors_of, toy_plan


class CountingTrainer(ToyTrainer):
    """Remembers what it was asked to train on, and may be interrupted."""

    def train(self, start, trains, examples, round_number, seed):
        if self.dies_at == len(self.calls):
            raise KeyboardInterrupt
        self.calls.append((len(examples), round_number, seed))
        return super().train(start, trains, examples, round_number, seed)


def federation(*names, dies_at=None, plan_hash="1"):
    trainer = CountingTrainer(tensors_of("target"))
    trainer.calls, trainer.dies_at = [], dies_at
    trainer.workers, trainer.stop = 1, silent
    sites = {
        name: SimpleNamespace(data=SimpleNamespace(train=[None] * (10 * number), test=[None] * number))
        for number, name in enumerate(names, start=1)
    }
    plan = SimpleNamespace(hash=plan_hash, seed=0, rounds=RoundsSettings(count=2))
    assert toy_plan().seed == plan.seed
    return SimpleNamespace(
        trainer=trainer,
        plan=plan,
        task=ToyMetrics(),
        initial=Adapter(LAYOUT, tensors_of("start", scale=0.1)),
        sites=sites,
        train_rows=[None] * sum(len(site.data.train) for site in sites.values()),
        test_rows=[None] * sum(len(site.data.test) for site in sites.values()),
    )


def silent(*_):
    """Nobody is told."""


def test_everyone_trains_as_long_as_the_federation(tmp_path):
    given, told = federation("a", "b"), []
    result = compare(given, tmp_path, lambda *what: told.append(what))
    assert set(result.alone) == {"a", "b"}
    assert [(rows, number) for rows, number, _ in given.trainer.calls] == [
        (30, 1), (30, 2), (10, 1), (10, 2), (20, 1), (20, 2),
    ]  # fmt: skip
    assert len({seed for *_, seed in given.trainer.calls}) == 6
    assert told == [("all data", 30), ("a", 10), ("b", 20)]
    before = given.trainer.evaluate(given.initial.tensors, given.test_rows)
    assert result.pooled["loss"] < ToyMetrics().metrics(before)["loss"]
    assert set(result.pooled) == set(result.alone["a"]) == {"loss", "nearness"}


@pytest.mark.parametrize("dies_at", range(6))
def test_it_goes_on_after_an_interruption(tmp_path, dies_at):
    whole = compare(federation("a", "b"), tmp_path / "whole", silent)
    with pytest.raises(KeyboardInterrupt):
        compare(federation("a", "b", dies_at=dies_at), tmp_path / "cut", silent)
    again = federation("a", "b")
    assert compare(again, tmp_path / "cut", silent) == whole
    assert len(again.trainer.calls) == 6 - 2 * (dies_at // 2)


def test_a_training_that_diverges_is_no_figure(tmp_path):
    given = federation("a")
    given.trainer.targets = {name: np.full_like(t, np.nan) for name, t in given.trainer.targets.items()}
    given.trainer._distance = lambda _: float("nan")
    with pytest.raises(RunError, match=r"training on all data diverged.*Lower training\.learning_rate"):
        compare(given, tmp_path, silent)


def test_another_plan_is_trained_anew(tmp_path):
    compare(federation("a"), tmp_path, silent)
    other = federation("a", plan_hash="2")
    compare(other, tmp_path, silent)
    assert len(other.trainer.calls) == 4


def test_sites_may_have_any_name(tmp_path):
    """Names of sites have no spaces, so none of them is taken for all data."""
    result = compare(federation("pooled", "all"), tmp_path, silent)
    assert set(result.alone) == {"pooled", "all"}
    assert result.pooled not in result.alone.values()


def test_what_has_no_value_survives_the_file(tmp_path):
    given = federation("a")
    given.task = SimpleNamespace(metrics=lambda _: {"auroc": float("nan"), "loss": 1.0})
    first, second = (compare(given, tmp_path, silent) for _ in range(2))
    assert np.isnan(first.pooled["auroc"])
    assert np.isnan(second.pooled["auroc"])
    assert second.pooled["loss"] == 1.0
    assert json.loads((tmp_path / "a.json").read_text())["metrics"]["auroc"] is None

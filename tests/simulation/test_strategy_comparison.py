"""Comparisons as a whole: order, resuming, refusals and failures, with runs made up; then real ones."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from safetensors.numpy import load_file

import sealora
from sealora.plan.loader import Plan, load
from sealora.privacy.accountants import ACCOUNTANTS
from sealora.privacy.events import Budget, PoissonSampledGaussian
from sealora.privacy.ledger import ChargeKey, Ledger
from sealora.protocol.errors import DataError, PlanError, RefusedError, RunError, UsageError
from sealora.server.loop import Coordinator
from sealora.simulation import strategy_comparison
from sealora.simulation.contenders import read_contenders
from sealora.simulation.run_folder import RunFolder
from sealora.simulation.strategy_comparison import cell_folder, compare_strategies
from sealora.simulation.strategy_report import comparison_table

PLAN = """
schema = 1
seed = 3
[model]
name = "somewhere"
[task]
labels = ["no", "yes"]
"""


class Runs:
    """Stands in for `simulate`: remembers what was asked, and does what it is told to."""

    def __init__(self):
        self.asked = []
        self.raises = {}
        self.diverged = {}

    def __call__(self, plan, out, *, resume, observers):
        key = (plan.strategy.name, plan.seed)
        self.asked.append(key)
        assert resume
        folder = out if (out / "run.json").exists() else RunFolder.create(out, plan, {}).path
        if key in self.raises:
            raise self.raises[key]
        result = {
            "stopped": None,
            "headline": "accuracy",
            "seed": plan.seed,
            "metrics": {"accuracy": 0.5 + plan.seed / 100},
            "sites": {},
            "bytes": dict.fromkeys(
                ("up_total", "down_total", "up_per_site_and_round", "down_per_site_and_round"), 1
            ),
            "seconds_per_round": {"train": 1.0},
            "train_loss": [1.0],
            "diverged": self.diverged.get(key, [0]),
            "adapter_sha256": "",
            "curve": [{"accuracy": 0.5}],
        }
        RunFolder(folder).write_json("result.json", result)
        return result


@pytest.fixture
def runs(monkeypatch):
    made = Runs()
    monkeypatch.setattr(strategy_comparison, "simulate", made)
    monkeypatch.setattr(strategy_comparison, "save_picture", lambda path, _: path.touch())
    return made


def compare(folder, *texts, seeds=2, plan=PLAN):
    return compare_strategies(read_contenders(Plan.from_text(plan), texts), seeds, folder)


def row(result, label):
    return next(row for row in result["strategies"] if row["strategy"] == label)


def test_seed_by_seed_from_the_plan_s(runs, tmp_path):
    result = compare(tmp_path / "out", "fedavg,ffa")
    assert runs.asked == [("fedavg", 3), ("ffa", 3), ("fedavg", 4), ("ffa", 4)]
    assert result["seeds"] == [3, 4]
    assert row(result, "ffa")["metric"]["mean"] == pytest.approx(0.535)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "comparison.json", "runs", "result.json", "strategies.csv", "cells.csv", "comparison.png"
    }  # fmt: skip


def test_more_strategies_and_seeds_run_only_what_is_new(runs, tmp_path):
    compare(tmp_path / "out", "fedavg,ffa")
    runs.asked.clear()
    result = compare(tmp_path / "out", "ffa,fedavg,rolora", seeds=3)
    assert runs.asked == [("rolora", 3), ("rolora", 4), ("ffa", 5), ("fedavg", 5), ("rolora", 5)]
    assert result["base"] == "ffa"
    assert [cell["strategy"] for cell in result["cells"]] == ["ffa", "fedavg", "rolora"] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "full"), DataError("no rows.")])
def test_what_concerns_all_ends_it_and_finished_runs_stay(runs, tmp_path, error):
    runs.raises = {("ffa", 4): error}
    with pytest.raises(type(error)):
        compare(tmp_path / "out", "fedavg,ffa")
    runs.asked, runs.raises = [], {}
    compare(tmp_path / "out", "fedavg,ffa")
    assert runs.asked == [("ffa", 4)]


def test_a_failed_run_does_not_stop_the_others_and_is_tried_again(runs, tmp_path):
    runs.raises = {("ffa", 3): RunError("it diverged.", "Lower the rate.")}
    result = compare(tmp_path / "out", "fedavg,ffa")
    assert row(result, "ffa")["failed"] == {3: "it diverged. Lower the rate."}
    assert row(result, "ffa")["metric"]["seeds"] == 1
    runs.asked, runs.raises = [], {}
    assert row(compare(tmp_path / "out", "fedavg,ffa"), "ffa")["failed"] == {}
    assert runs.asked == [("ffa", 3)]


def test_a_run_whose_training_diverged_is_no_figure(runs, tmp_path):
    runs.diverged = {("ffa", 3): [0, 2, 5]}
    for _ in range(2):  # read again, it is the same
        result = compare(tmp_path / "out", "fedavg,ffa")
        assert row(result, "ffa")["metric"]["seeds"] == 1
        assert row(result, "ffa")["failed"][3] == (
            "Training diverged in 2 of 3 rounds, at up to 5 sites, which sent no change. "
            "Lower training.learning_rate."
        )


PRIVATE = """
[strategy]
weighting = "uniform"
[data]
drop_duplicates = false
[privacy]
guarantee = "record"
epsilon = 50.0
delta = 1e-5
sampling_rate = 0.1
expected_batch = 8
noise_multiplier = 2.0
steps_per_round = 1
accountant = "rdp"
"""


def pay(folder, label, seed, **rounds):
    """What the sites of a run paid for, as its ledgers have it."""
    path = cell_folder(folder, label, seed) / "state" / "ledgers"
    path.mkdir(parents=True)
    rdp = ACCOUNTANTS["rdp"]("add-remove")
    for site, count in rounds.items():
        with Ledger(path / f"{site}.jsonl", site, "record", rdp) as ledger:
            for number in range(count):
                event = PoissonSampledGaussian(2.0, 0.1, 1)
                ledger.charge(ChargeKey("r", number, 1), event, Budget(50, 1e-5))


def test_a_private_comparison_tells_what_all_its_runs_cost(runs, tmp_path):
    """Runs on the same rows add up: those of other strategies and seeds, and earlier ones in the folder."""
    compare(tmp_path, "fedavg", seeds=1, plan=PLAN + PRIVATE)
    pay(tmp_path, "fedavg", 3, a=5, b=7)
    pay(tmp_path, "fedavg", 4, a=7, b=7)
    pay(tmp_path, "ffa", 3, a=7)
    result = compare(tmp_path, "fedavg", seeds=1, plan=PLAN + PRIVATE)
    together = ACCOUNTANTS["rdp"]("add-remove").epsilon([PoissonSampledGaussian(2.0, 0.1, 21)], 1e-5)
    account = {"epsilon": pytest.approx(together), "delta": 1e-5, "unit": "record", "accountant": "rdp"}
    assert result["privacy"] == {**account, "runs": 3}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(comparison_table(result))
    assert f"together they cost ε = {together:.3g} at δ = 1e-05 for each record" in console.export_text()
    assert compare(tmp_path / "plain", "fedavg", seeds=1)["privacy"] is None


def test_ledgers_that_outlive_runs_pay_for_no_comparison(runs, tmp_path):
    lasting = f'{PLAN}{PRIVATE}[simulation]\nledgers = "{tmp_path / "ledgers"}"\n'
    with pytest.raises(UsageError, match="cannot pay for a comparison"):
        compare(tmp_path / "out", "fedavg", plan=lasting)
    assert not runs.asked
    assert not (tmp_path / "out").exists()


def test_a_run_that_a_site_refuses_is_a_failed_one(runs, tmp_path):
    runs.raises["ffa", 3] = RefusedError("the ledger pays for other data than these.")
    result = compare(tmp_path, "fedavg", "ffa")
    assert row(result, "ffa")["failed"] == {3: "the ledger pays for other data than these."}
    assert (tmp_path / "result.json").exists()


def test_what_only_the_model_shows_to_be_impossible_is_refused_once(runs, tmp_path):
    runs.raises = {("ffa", 3): PlanError("the ranks do not fit.")}
    result = compare(tmp_path / "out", "fedavg,ffa")
    assert row(result, "ffa")["refused"] == "the ranks do not fit."
    assert ("ffa", 4) not in runs.asked
    runs.raises = {("fedavg", 3): PlanError("the ranks do not fit.")}
    with pytest.raises(UsageError, match="fedavg, with which the others are compared, is refused"):
        compare(tmp_path / "other", "fedavg,ffa")


def test_runs_of_another_plan_are_not_mixed_in(runs, tmp_path):
    compare(tmp_path / "out", "fedavg")
    with pytest.raises(UsageError, match="is of another plan: it differs in rounds"):
        compare(tmp_path / "out", "fedavg", plan=PLAN + "[rounds]\ncount = 7\n")


def test_a_folder_of_something_else_is_left_alone(runs, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty, and holds no comparison"):
        compare(tmp_path, "fedavg")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="cannot be made"):
        compare(tmp_path / "notes.txt" / "below", "fedavg")
    marker = tmp_path / "out" / "comparison.json"
    marker.parent.mkdir()
    for content, message in (("{}", "is damaged"), ('{"format": 2}', "has comparison format 2")):
        marker.write_text(content)
        with pytest.raises(UsageError, match=message):
            compare(tmp_path / "out", "fedavg")
    assert runs.asked == []


def test_labels_have_folders_of_their_own():
    labels = ["fedavg", "fedprox:mu=0.1", "fedprox:mu=0.1,weighting=uniform", "a:model.x=../b", "a:x=.b"]
    folders = [cell_folder(Path("out"), label, 1) for label in labels]
    assert len(set(folders)) == len(labels)
    assert all(len(folder.parts) == 4 for folder in folders)


def text_of(result, terminal=False):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    console.print(comparison_table(result))
    return console.file.getvalue()


def test_runs_without_masks_are_told_in_red(runs, tmp_path):
    seen = "the coordinator saw the update of every site."
    result = compare(tmp_path / "masked", "fedavg,median", seeds=1)
    assert seen not in text_of(result)
    for one in result["strategies"][1:]:
        one["plain"] = True
    assert f"Without masks: in the runs of median {seen}" in text_of(result)
    result["strategies"][0]["plain"] = True
    assert f"\x1b[1;31mWithout masks: in these runs {seen}" in text_of(result, terminal=True)


@pytest.mark.slow
def test_an_interrupted_comparison_ends_as_a_whole_one(tiny, tmp_path, monkeypatch):
    plan = load(tiny.plan(tmp_path)).replace(rounds={"count": 2})
    whole = sealora.compare(plan, ["fedavg", "ffa"], tmp_path / "whole", seeds=2, rows=60)
    assert json.loads((tmp_path / "whole" / "result.json").read_text()) == whole.result
    assert whole["ffa"]["bytes_up"] < whole["fedavg"]["bytes_up"]
    assert 0 <= whole["ffa"]["worst_site"]["mean"] <= whole["ffa"]["metric"]["mean"] <= 1
    runs = [sealora.Run.load(cell_folder(tmp_path / "whole", name, 0)) for name in ("fedavg", "ffa")]
    assert len({json.dumps({n: s["cleaning"] for n, s in run.result["sites"].items()}) for run in runs}) == 1

    # The second round of the second strategy is cut off: its first round must not be run again.
    original, begun = Coordinator._round, []

    def cut(self, checkpoint, number):
        begun.append((self.plan.strategy.name, number))
        if begun.count(("ffa", 2)) == 1:
            raise KeyboardInterrupt
        return original(self, checkpoint, number)

    monkeypatch.setattr(Coordinator, "_round", cut)
    with pytest.raises(KeyboardInterrupt):
        sealora.compare(plan, ["fedavg", "ffa"], tmp_path / "cut", seeds=1, rows=60)
    sealora.compare(plan, ["fedavg", "ffa"], tmp_path / "cut", seeds=1, rows=60)
    assert begun == [("fedavg", 1), ("fedavg", 2), ("ffa", 1), ("ffa", 2), ("ffa", 2)]
    tensors = [
        load_file(cell_folder(tmp_path / where, "ffa", 0) / "adapter" / "adapter_model.safetensors")
        for where in ("whole", "cut")
    ]
    assert all((tensors[0][name] == tensors[1][name]).all() for name in tensors[0])

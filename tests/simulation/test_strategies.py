"""Strategies in whole runs on a tiny model: what trains, what stays, and what privacy and heads alone add."""

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file
from transformers import AutoModelForSequenceClassification

import sealora
from sealora.models.adapter import unpack
from sealora.plan.loader import load
from sealora.protocol.errors import UsageError
from sealora.simulation.federation import assemble

pytestmark = pytest.mark.slow


def run_of(tiny, folder, rounds=2, **sections):
    plan = load(tiny.plan(folder)).replace(rounds={"count": rounds}, **sections)
    return sealora.simulate(plan, folder / "run")


def adapter_of(run):
    return load_file(run.adapter_path / "adapter_model.safetensors")


def moved(first, second, marker):
    """Whether the tensors whose names have the marker differ; they must do so all alike."""
    found = {not np.array_equal(first[name], second[name]) for name in first if marker in name}
    assert len(found) == 1
    return found.pop()


@pytest.fixture(scope="module")
def one_round(tiny, tmp_path_factory):
    return adapter_of(run_of(tiny, tmp_path_factory.mktemp("one"), 1, strategy={"name": "rolora"}))


def test_factors_take_turns(tiny, tmp_path, one_round):
    two = adapter_of(run_of(tiny, tmp_path, 2, strategy={"name": "rolora"}))
    assert moved(one_round, two, "lora_A")
    assert not moved(one_round, two, "lora_B")
    assert moved(one_round, two, "classifier")


def test_a_frozen_factor_keeps_its_first_value(tiny, tmp_path, one_round):
    run = run_of(tiny, tmp_path, 2, strategy={"name": "ffa"})
    frozen = adapter_of(run)
    assert not moved(one_round, frozen, "lora_A")
    assert moved(one_round, frozen, "lora_B")
    whole = run_of(tiny, tmp_path / "whole", 2)
    assert run.result["bytes"]["up_per_site_and_round"] < whole.result["bytes"]["up_per_site_and_round"]
    assert run.result["bytes"]["down_per_site_and_round"] < whole.result["bytes"]["down_per_site_and_round"]


def test_rows_are_orthonormal_after_each_round(tiny, tmp_path):
    tensors = adapter_of(run_of(tiny, tmp_path, 2, strategy={"name": "fedsvd"}))
    for name, a in tensors.items():
        if "lora_A" in name:
            np.testing.assert_allclose(a @ a.T, np.eye(len(a)), atol=1e-5)


@pytest.mark.parametrize(
    "sections",
    [
        {"strategy": {"name": "scaffold"}, "training": {"optimizer": "sgd", "learning_rate": 0.1}},
        {"strategy": {"name": "feddyn", "options": {"alpha": 0.1}}},
        {"strategy": {"name": "fedadam", "server_learning_rate": 0.02}},
        {"strategy": {"name": "fedavgm", "options": {"beta": 0.5}}, "cohort": {"size": 4}},
    ],
    ids=lambda sections: sections["strategy"]["name"],
)
def test_it_learns_something(tiny, tmp_path, sections):
    losses = run_of(tiny, tmp_path, 5, **sections).result["train_loss"]
    assert losses[-1] < losses[0]


def test_personal_factors_stay_at_their_sites_and_measure_themselves(tiny, tmp_path):
    run = run_of(tiny, tmp_path, 2, strategy={"name": "fedsa"})
    first, *others = (
        unpack(committed.read_bytes())
        for committed in sorted((tmp_path / "run" / "state" / "sites").glob("*/*/committed.safetensors"))
    )
    assert len(others) == len(run.result["sites"]) - 1
    assert {name.split(".")[-2] for name in first} == {"lora_B"}
    assert all(moved(first, other, "lora_B") for other in others)
    common = adapter_of(run)
    assert all(not common[name].any() for name in common if "lora_B" in name)
    losses = [site["metrics"]["loss"] for site in run.result["sites"].values()]
    rows = [site["test_rows"] for site in run.result["sites"].values()]
    assert run.metrics["loss"] == pytest.approx(np.average(losses, weights=rows), rel=1e-3)
    with pytest.raises(UsageError, match="with fedsa every site has a model of its own"):
        run.predict(["the film was warm"])
    with pytest.raises(UsageError, match=r"so there is none to use\. The strategy is for research"):
        run.evaluate(tiny.data)


def test_rank_0_trains_the_head_alone(tiny, tmp_path):
    run = run_of(tiny, tmp_path, 3, lora={"rank": 0})
    assert run.result["parameters"] == 2 * 16 + 2
    assert run.result["train_loss"][-1] < run.result["train_loss"][0]
    assert run.predict(["the film was warm"])[0]["label"] in ("negative", "positive")
    base = AutoModelForSequenceClassification.from_pretrained(tiny.model)
    assert isinstance(PeftModel.from_pretrained(base, run.adapter_path), PeftModel)


RANKS = {"rank": 4, "ranks": {"site-01": 1, "site-02": 2, "site-03": 2}}


def loaded(tiny, run):
    """The saved adapter on a fresh base, by plain peft."""
    base = AutoModelForSequenceClassification.from_pretrained(tiny.model)
    return PeftModel.from_pretrained(base, run.adapter_path).eval()


@pytest.mark.parametrize("name", ["fed_sb", "hetlora", "fedex", "flexlora", "flora"])
def test_products_and_cores_in_whole_runs(tiny, tmp_path, name):
    """Under masks, of mixed ranks where they may be: adapters move, and plain peft computes what we do."""
    options = {"product_range": 4.0} if name in ("fedex", "flexlora", "flora") else {}
    lora = {"rank": 4} if name == "fed_sb" else RANKS
    run = run_of(tiny, tmp_path, 2, lora=lora, strategy={"name": name, "options": options})
    assert run.result["guarantee"].startswith("secure")
    assert all(tensor.any() for key, tensor in adapter_of(run).items() if "lora_B" in key)
    model, row = loaded(tiny, run), run._base.tokenizer(["the film was warm"], return_tensors="pt")
    theirs = torch.softmax(model(**row).logits, dim=-1)[0].detach().numpy()
    scores = run.predict(["the film was warm"])[0]["scores"]
    np.testing.assert_allclose([scores["negative"], scores["positive"]], theirs, atol=1e-5)
    assert ("more than the means of A and B" in run.result["discloses"]) == bool(options)


def test_what_sites_measure_is_the_saved_model(tiny, tmp_path):
    """W at the sites and the merged adapter are the same model."""
    run = run_of(tiny, tmp_path, 2, strategy={"name": "fedex"}, lora=RANKS, simulation={"workers": 1})
    federation = assemble(run.plan, tmp_path / "again")
    rows = federation.test_rows
    adapter = run.folder.load_adapter(federation.initial.layout)
    sums = federation.trainer.evaluate(adapter.tensors, rows)
    metrics = federation.task.metrics({part: counts.astype(float) for part, counts in sums.items()})
    assert metrics["loss"] == pytest.approx(run.metrics["loss"], rel=1e-4)


def test_ranks_of_strangers_are_refused(tiny, tmp_path):
    with pytest.raises(UsageError, match=r"lora\.ranks names 'site-1'.* Did you mean 'site-0?1'"):
        run_of(tiny, tmp_path, lora={"rank": 4, "ranks": {"site-1": 2}}, strategy={"name": "flexlora"})


PRIVACY = {
    "guarantee": "record",
    "epsilon": 1000.0,
    "delta": 1e-3,
    "sampling_rate": 0.5,
    "expected_batch": 8,
    "steps_per_round": 2,
    "noise_multiplier": 1.0,
}


@pytest.mark.parametrize(
    "sections",
    [
        {"strategy": {"name": "ffa"}},
        {"strategy": {"name": "fed_sb"}},
        {"strategy": {"name": "hetlora"}, "lora": RANKS},
        {"strategy": {"name": "fedex"}, "lora": RANKS},
        {"strategy": {"name": "flora"}, "lora": RANKS},
        {"strategy": {"name": "fedsvd"}},
        {"strategy": {"name": "fedsa", "options": {"head": "personal"}}},
        {"strategy": {"name": "scaffold"}, "training": {"optimizer": "sgd"}},
        {"lora": {"rank": 0}},
    ],
    ids=["ffa", "fed_sb", "hetlora", "fedex", "flora", "fedsvd", "fedsa", "scaffold", "head alone"],
)
def test_under_record_level_privacy(tiny, tmp_path, sections):
    sections["strategy"] = {**sections.get("strategy", {}), "weighting": "uniform"}
    run = run_of(tiny, tmp_path, 2, privacy=PRIVACY, data={"drop_duplicates": False}, **sections)
    assert run.result["privacy"]["epsilon"] > 0
    assert all(np.isfinite(tensor).all() for tensor in adapter_of(run).values())

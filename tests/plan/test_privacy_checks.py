"""[privacy]: a plan that would break its own promise is refused; doubtful ones are told."""

import pytest

from sealora.plan.loader import Plan
from sealora.protocol.errors import PlanError

PRIVATE = """\
schema = 1
model.name = "m"
task.labels = ["a", "b"]
strategy.weighting = "uniform"
data.drop_duplicates = false

[privacy]
guarantee = "record"
epsilon = 8.0
delta = 1e-5
sampling_rate = 0.1
expected_batch = 32
"""
BASE = Plan.from_text(PRIVATE)
OFF = {"guarantee": "none", "epsilon": 0.0, "delta": 0.0, "sampling_rate": 0.0, "expected_batch": 0.0}


def test_a_sound_promise_has_no_warnings():
    assert BASE.warnings == ()
    assert BASE.privacy.private
    assert BASE.privacy.nominal_units == pytest.approx(320)


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"strategy": {"weighting": "examples"}}, "strategy.weighting", "number of rows. Write weighting"),
        ({"data": {"drop_duplicates": True}}, "data.drop_duplicates", "Write drop_duplicates = false"),
        ({"strategy": {"weighting": "contrasting"}}, "strategy.weighting", "number of rows. Write weighting"),
        ({"training": {"label_calibration": 1.0}}, "training.label_calibration", "labels of the others"),
        ({"lora": {"dropout": 0.1}}, "lora.dropout", "Write dropout = 0.0"),
        ({"model": {"dtype": "bfloat16"}}, "model.dtype", 'Write "float32"'),
        (
            {"model": {"quantization": "int8"}},
            "model.quantization",
            "a row changes what the model makes of others",
        ),
        ({"model": {"quantization": "int4"}}, "model.quantization", "half precision on CUDA"),
        (
            {"model": {"quantization": "int4", "device": "cuda"}},
            "model.quantization",
            'Write "none", or device = "cpu"',
        ),
        ({"privacy": {"epsilon": 0.0}}, "privacy.epsilon", "Write epsilon"),
        ({"privacy": {"delta": 0.0}}, "privacy.delta", "Write a tenth"),
        ({"privacy": {"sampling_rate": 0.0}}, "privacy.sampling_rate", "Write the share"),
        ({"privacy": {"expected_batch": 0.0}}, "privacy.expected_batch", "publicly known"),
        ({"privacy": {"noise_multiplier": 1e-4}}, "privacy.noise_multiplier", "calibrated from the budget"),
        ({"privacy": {"metrics": "public"}}, "privacy.metrics", "Name one in public_holdout"),
        ({"privacy": {"metrics": "noised", "metrics_noise": 1e-4}}, "privacy.metrics_noise", "calibrated"),
        ({"data": {"group_column": "patient"}}, "data.group_column", 'Write unit = "group"'),
        (
            {"privacy": {"unit": "group"}, "data": {"path": "x.csv"}},
            "privacy.unit",
            "Name their column in data.group_column",
        ),
        ({"simulation": {"ledgers": "ledgers"}}, "simulation.ledgers", "begins with / or ~"),
        ({"simulation": {"budgets": {"site-1": 0.0}}}, "simulation.budgets.site-1", "Use an ε from 1e-06"),
        (
            {"privacy": {"metrics": "public", "public_holdout": "p.csv"}, "strategy": {"name": "fedsa"}},
            "privacy.metrics",
            'so there is no one model to measure. Write metrics = "withheld".',
        ),
    ],
)
def test_broken_promises(change, key, words):
    with pytest.raises(PlanError) as caught:
        BASE.replace(**change)
    (line,) = str(caught.value).split("\n")
    assert line.startswith(f"plan: {key}: ")
    assert words in line


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (
            {"privacy": {"delta": 0.01}},
            "privacy.delta",
            "large for the 320 rows of a site. Use at most 0.0003.",
        ),
        ({"data": {"rows": 800_000}}, "privacy.delta", "large for the 100,000 rows"),
        ({"data": {"rows": 200}}, "privacy.expected_batch", "will hold about 2.5 rows"),
        ({"training": {"batch_size": 8}}, "training.batch_size", "privacy.sampling_rate decides"),
        ({"training": {"max_gradient_norm": 0.0}}, "training.max_gradient_norm", "clipping_norm decides"),
        ({"data": {"test_fraction": 0.1}}, "data.test_fraction", "all rows train"),
        ({"privacy": {"public_holdout": "x.csv"}}, "privacy.public_holdout", 'without metrics = "public"'),
        ({"privacy": {"metrics_noise": 5.0}}, "privacy.metrics_noise", 'without metrics = "noised"'),
        ({"privacy": {"records_per_unit": 5}}, "privacy.records_per_unit", 'without unit = "group"'),
        (
            {"privacy": {"unit": "group", "delta": 0.01}},
            "privacy.delta",
            "large for the 320 groups of a site",
        ),
    ],
)
def test_doubtful_promises(change, key, words):
    lines = BASE.replace(**change).warnings
    assert any(line.startswith(f"plan: {key}: ") and words in line for line in lines), lines


def test_keys_without_a_guarantee_have_no_effect():
    lines = BASE.replace(privacy={"guarantee": "none"}).warnings
    found = {line.split(": ")[1] for line in lines}
    assert found == {f"privacy.{key}" for key in ("epsilon", "delta", "sampling_rate", "expected_batch")}


def test_a_base_of_four_bits_is_fine_where_it_computes_in_full_precision():
    assert BASE.replace(model={"quantization": "int4", "device": "cpu"}).warnings == ()
    assert BASE.replace(model={"quantization": "int8"}, privacy=OFF).model.quantization == "int8"


def test_any_microbatch_is_fine_where_batches_are_secret():
    assert BASE.replace(training={"microbatch_size": 7}).warnings == ()


def test_where_the_public_table_lies_is_not_hashed():
    public = BASE.replace(privacy={"metrics": "public", "public_holdout": "a.csv"})
    assert public.hash == public.replace(privacy={"public_holdout": "b.csv"}).hash != BASE.hash


def test_metrics_are_noised_or_public_or_not_there():
    """There is no way to write that they are exact."""
    for metrics in ("exact", "plain", "local"):
        with pytest.raises(PlanError, match="must be 'withheld', 'public' or 'noised'"):
            BASE.replace(privacy={"metrics": metrics})


def test_the_unit_is_part_of_the_contract_and_the_column_is_not():
    patients = BASE.replace(privacy={"unit": "group"}, data={"group_column": "patient"})
    assert patients.warnings == ()
    assert patients.hash == patients.replace(data={"group_column": "Fall"}).hash != BASE.hash


def test_without_masks_the_claim_still_holds_but_is_not_made_silently():
    """Each site adds the noise that its own claim needs, so single updates may be seen."""
    (line,) = BASE.replace(secure_aggregation={"enabled": False}).warnings
    assert "the coordinator will see the update of every site" in line


def test_budgets_and_ledgers_are_the_sites_business():
    assert BASE.replace(simulation={"ledgers": "/x", "budgets": {"*": 2.0}}).hash == BASE.hash
    lines = BASE.replace(privacy={"guarantee": "none"}, simulation={"ledgers": "/x"}).warnings
    assert any(line.startswith("plan: simulation.ledgers: ") for line in lines)

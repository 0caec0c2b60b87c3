"""Forecasts: sizes are those of real payloads, times follow from arithmetic."""

import numpy as np
import pytest

from sealora.models.adapter import AdapterLayout, TensorSpec, pack
from sealora.plan.forecast import adapted_share, flops, forecast, measure_flops, safetensors_bytes
from sealora.plan.loader import Plan

LAYOUT = AdapterLayout(
    (
        TensorSpec("encoder.a", (8, 384), "A"),
        TensorSpec("encoder.b", (384, 8), "B"),
        TensorSpec("encoder.frozen", (5, 7), kind="frozen"),
        TensorSpec("head.bias", (2,)),
        TensorSpec("kopf.größe", (3, 384)),
    ),
    rank=8,
)
PLAN = Plan.from_text('schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\ntask.max_length = 10')


def predicted(**changes):
    plan = PLAN.replace(**changes)
    return forecast(plan, 1e9, adapter=lambda _: LAYOUT, base_parameters=lambda _: 1000)


@pytest.mark.parametrize("names", [(), ("a",), ("a", "bb"), tuple("abcdefg")])
def test_the_download_is_what_pack_writes(names):
    layout = AdapterLayout(tuple(TensorSpec(name, (3, len(name))) for name in names), rank=1)
    tensors = {spec.name: np.zeros(spec.shape, np.float32) for spec in layout.specs}
    assert safetensors_bytes(layout.specs) == len(pack(tensors))


def test_the_download_with_names_outside_ascii():
    tensors = {spec.name: np.zeros(spec.shape, np.float32) for spec in LAYOUT.specs}
    assert safetensors_bytes(LAYOUT.specs) == len(pack(tensors))
    sent = {name: tensor for name, tensor in tensors.items() if name != "encoder.frozen"}
    assert predicted().bytes_down == len(pack(sent))


def test_only_shared_tensors_are_sent():
    found = predicted()
    assert found.parameters == 2 * 8 * 384 + 35 + 2 + 3 * 384
    assert found.parameters_trained == found.parameters - 35
    assert found.bytes_up == 8 * found.words
    assert found.words > found.parameters_trained / 4


def test_frozen_tensors_are_neither_trained_nor_sent():
    whole, half = predicted(), predicted(strategy={"name": "ffa"})
    assert whole.parameters_sent == whole.parameters_trained
    assert half.parameters_sent == half.parameters_trained == whole.parameters_sent - 8 * 384
    assert half.bytes_down < whole.bytes_down - 4 * 8 * 384
    assert whole.words - half.words == 8 * 384 / 3, "three values of 16 bits from 8 sites in a word"


def test_personal_tensors_are_trained_and_not_sent():
    found = predicted(strategy={"name": "fedsa"})
    assert found.parameters_personal == 8 * 384
    assert found.parameters_sent == found.parameters_trained - 8 * 384
    assert predicted().parameters_personal == 0


def test_control_variates_travel_both_ways():
    plain = predicted()
    found = predicted(strategy={"name": "scaffold"}, training={"optimizer": "sgd"})
    assert found.parameters_sent == 2 * plain.parameters_sent
    assert found.bytes_down > plain.bytes_down + 4 * plain.parameters_sent


@pytest.mark.parametrize("name", ["ffa", "fedsvd"])
def test_half_of_the_adapters_values_travel_up(name):
    """FedSVD, table 6: 393,216 instead of 786,432 for rank 8 in the queries and values of RoBERTa-large."""
    shapes = {"A": (8, 1024), "B": (1024, 8)}
    layout = AdapterLayout(
        tuple(
            TensorSpec(
                f"layer{layer:02}.{target}.lora_{role}", shapes[role], role, f"layer{layer:02}.{target}"
            )
            for layer in range(24)
            for target in ("query", "value")
            for role in ("A", "B")
        ),
        rank=8,
    )
    plans = (PLAN.replace(strategy={"name": "fedavg"}), PLAN.replace(strategy={"name": name}))
    whole, half = (forecast(plan, 1e9, lambda _: layout, lambda _: 1000) for plan in plans)
    assert (whole.parameters_sent, half.parameters_sent) == (786_432, 393_216)
    assert half.words == pytest.approx(whole.words / 2, rel=1e-3)


SQUARE = AdapterLayout(
    tuple(
        TensorSpec(f"{module}.lora_{role}", shape, role, module)
        for module, width in (("narrow", 64), ("wide", 1024))
        for role, shape in (("A", (16, width)), ("B", (width, 16)))
    ),
    rank=16,
)


def sketched(**changes):
    lora = {"rank": 16, "ranks": {"site-01": 4, "site-02": 8}}
    plan = PLAN.replace(
        **{"lora": lora, "simulation": {"sites": 3}, "strategy": {"name": "flexlora"}, **changes}
    )
    return forecast(plan, 1e9, adapter=lambda _: SQUARE, base_parameters=lambda _: 1000)


def test_products_cost_their_sketches_or_themselves():
    """Ranks 4 + 8 + 16 and the model's 16 make 44, and an eighth of that to spare 49."""
    off = {"enabled": False}
    found = sketched(secure_aggregation=off)
    assert found.sketches.width == 49
    assert (found.sketches.needed, found.sketches.sketched, found.sketches.dense) == (44, 1, 1)
    assert found.sketches.values == 3 * 49 * 1024 + 64 * 64 == found.parameters_sent
    assert found.sketches.factors == found.parameters_trained == 2 * 16 * (64 + 1024)
    assert "more than the means of A and B" in found.discloses
    equal = sketched(secure_aggregation=off, lora={"rank": 16})
    assert equal.sketches.needed == 4 * 16
    dense = sketched(secure_aggregation=off, strategy={"name": "flora", "options": {"exchange": "dense"}})
    assert dense.parameters_sent == 64**2 + 1024**2
    assert dense.bytes_down > 4 * (64**2 + 1024**2), "W comes down"
    plain = sketched(secure_aggregation=off, lora={"rank": 16}, strategy={"name": "fedavg"})
    assert (plain.sketches, plain.discloses) == (None, "")


def test_a_core_is_all_that_is_sent():
    found = sketched(secure_aggregation={"enabled": False}, lora={"rank": 16}, strategy={"name": "fed_sb"})
    assert found.parameters_sent == found.parameters_trained == 2 * 16**2


def test_a_head_alone_needs_no_gradients_of_the_base():
    plan = PLAN.replace(lora={"rank": 0})
    assert adapted_share(plan) == 0
    assert flops(plan, 1000, 1000, 0.0) == pytest.approx(10 * 1000 * 1000 * 2)


def test_layers_below_the_first_adapted_one_cost_a_pass_for_each_text():
    plan = PLAN.replace(lora={"last_layers": 1}, rounds={"count": 4})
    assert flops(plan, 1000, 1000, 0.25) == pytest.approx(10 * 1000 * (800 * 2.5 + 200 * 2))
    cached = plan.replace(training={"cache_frozen_layers": True})
    once = 1000 * 2 * 0.75 / 4
    assert flops(cached, 1000, 1000, 0.25) == pytest.approx(10 * 1000 * (800 * 1.0 + 200 * 0.5 + once))


def test_private_sites_train_on_what_they_draw():
    privacy = {
        "guarantee": "record",
        "epsilon": 8.0,
        "delta": 1e-5,
        "sampling_rate": 0.5,
        "expected_batch": 500.0,
        "steps_per_round": 3,
    }
    plan = PLAN.replace(privacy=privacy, strategy={"weighting": "uniform"}, data={"drop_duplicates": False})
    assert flops(plan, 1000, 1000, 1.0) == pytest.approx(10 * 1000 * 1000 * 1.5 * 4)


def test_fewer_bits_and_larger_cohorts_change_the_upload():
    assert (
        predicted(codec={"value_bits": 8}).words < predicted().words < predicted(cohort={"size": 1000}).words
    )


def test_sites_are_the_cohort_or_all():
    assert predicted(simulation={"sites": 5}).sites == 5
    assert predicted(cohort={"size": 4}).sites == 4


def test_time_is_operations_over_speed():
    # 1000 assumed rows of 10 tokens: 800 trained at 4, 200 tested at 2 FLOPs a parameter.
    assert flops(PLAN, 1000, 1000, 1.0) == pytest.approx(10 * 1000 * (800 * 4 + 200 * 2))
    found = predicted(rounds={"count": 5}, simulation={"workers": 2})
    assert found.seconds_per_round == pytest.approx(3.6e7 / 0.5e9)
    assert found.seconds == pytest.approx(found.seconds_per_round * 8 * 5 / 2)
    assert found.assumption == "1,000 rows of 10 tokens at a site, at 50% of 1 GFLOP/s"


def test_known_rows_are_shared_out():
    assert predicted(data={"rows": 400}).assumption.startswith("50 rows")
    assert predicted(training={"epochs": 2}).seconds == pytest.approx(predicted().seconds * 68 / 36)


def test_the_machine_is_measured():
    assert 1e6 < measure_flops(1, side=64, seconds=0.01) < 1e15


def test_masks_of_groups_are_those_of_the_smallest():
    found = predicted(
        strategy={"name": "median", "options": {"groups": 5}},
        simulation={"sites": 16},
        secure_aggregation={"colluders": 0},
    )
    masks = found.masks
    assert (masks.groups, masks.sites, masks.threshold, masks.minimum_contributors) == (5, 3, 2, 3)
    assert found.words == predicted(simulation={"sites": 4}, secure_aggregation={"colluders": 0}).words
    assert predicted().masks.groups == 0

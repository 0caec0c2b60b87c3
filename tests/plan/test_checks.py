"""Cross-checks: one row for each combination that cannot be run, or that deserves a word."""

import pytest

from sealora.plan.loader import Plan
from sealora.protocol.errors import PlanError

HEAD = {"schema": 1, "model": {"name": "m"}, "task": {"labels": ["a", "b"]}}
PLAIN = {"enabled": False}
FIFTEEN = {"simulation": {"sites": 15}, "secure_aggregation": {"colluders": 0}}
BASE = Plan.from_text('schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]')


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"task": {"labels": []}}, "task.labels", "0 of at least 2"),
        ({"task": {"labels": ["a"]}}, "task.labels", "1 of at least 2"),
        ({"task": {"labels": [], "multi_label": True}}, "task.labels", "0 of at least 1"),
        ({"task": {"labels": ["a", "b", "a"]}}, "task.labels[2]", "twice"),
        ({"task": {"labels": ["a", " "]}}, "task.labels[1]", "empty"),
        ({"task": {"labels": ["a", "b|c"], "multi_label": True}}, "task.labels[1]", "separates"),
        ({"task": {"name": "instruction_tuning"}}, "task.labels", "instruction_tuning has no classes"),
        (
            {"task": {"name": "instruction_tuning", "labels": []}, "lora": {"rank": 0}},
            "lora.rank",
            "trains no head",
        ),
        (
            {"task": {"name": "instruction_tuning", "labels": [], "options": {"paking": False}}},
            "task.options.paking",
            "unknown key. Did you mean 'packing'?",
        ),
        (
            {"task": {"name": "instruction_tuning", "labels": []}, "training": {"label_calibration": 1.0}},
            "training.label_calibration",
            "needs a classification",
        ),
        (
            {
                "task": {"name": "instruction_tuning", "labels": []},
                "data": {"response_column": "a", "prompt_column": "a"},
            },
            "data.response_column",
            "is the prompt column too",
        ),
        (
            {"training": {"gradient_checkpointing": True}, "lora": {"dropout": 0.1}},
            "training.gradient_checkpointing",
            "dropout",
        ),
        ({"model": {"quantization": "int4", "device": "mps"}}, "model.quantization", "for CUDA and CPUs"),
        ({"task": {"name": "clasification"}}, "task.name", "Did you mean 'classification'?"),
        ({"strategy": {"name": "fedavgg"}}, "strategy.name", "Did you mean 'fedavg"),
        ({"strategy": {"options": {"mu": 1}}}, "strategy.options.mu", "unknown key. There is none"),
        (
            {"strategy": {"name": "fedprox", "options": {"mju": 1}}},
            "strategy.options.mju",
            "unknown key. Did you mean 'mu'?",
        ),
        (
            {"strategy": {"name": "fedprox", "options": {"mu": -1}}},
            "strategy.options.mu",
            "must be at least 0, not -1.",
        ),
        (
            {"strategy": {"name": "fedprox", "options": {"mu": "1"}}},
            "strategy.options.mu",
            "must be a number, not the string '1'.",
        ),
        (
            {"strategy": {"name": "ffa"}, "lora": {"rank": 0}},
            "lora.rank",
            'ffa treats A and B apart, and rank 0 has neither. Raise the rank, or write name = "fedavg"',
        ),
        (
            {"strategy": {"name": "scaffold"}},
            "training.optimizer",
            'gradient steps. Write optimizer = "sgd".',
        ),
        (
            {"strategy": {"name": "scaffold"}, "training": {"optimizer": "sgd", "momentum": 0.9}},
            "training.momentum",
            "Write momentum = 0.0.",
        ),
        ({"strategy": {"name": "fedadam"}}, "strategy.name", "Write server_learning_rate = 0.01"),
        (
            {"lora": {"ranks": {"site-01": 4}}},
            "lora.ranks",
            'adds up adapters of one rank only. Remove ranks, or write name = one of "hetlora", "fedex"',
        ),
        ({"lora": {"ranks": {"a": 4}}, "strategy": {"name": "fedsvd"}}, "lora.ranks", "fedsvd adds up"),
        (
            {"lora": {"ranks": {"a": 9}}, "strategy": {"name": "flora"}},
            "lora.ranks.a",
            "9 is not between 1 and lora.rank = 8. Set lora.rank to the largest",
        ),
        ({"lora": {"ranks": {"a": 0}}, "strategy": {"name": "flora"}}, "lora.ranks.a", "0 is not between"),
        (
            {"strategy": {"name": "flexlora", "options": {"width": 71}}},
            "strategy.options",
            "sketches of width 71 lose a part of what 8 sites send, whose ranks and the model's add up to 72",
        ),
        (
            {
                "strategy": {"name": "fedex", "options": {"width": 27}},
                "lora": {"ranks": {"site-01": 4}},
                "simulation": {"sites": 3},
                "secure_aggregation": {"colluders": 0},
            },
            "strategy.options",
            "whose ranks and the model's add up to 28. Write width = 28 or more, 0 for as many",
        ),
        (
            {"strategy": {"name": "krum"}},
            "strategy.name",
            "krum compares single updates, which secure aggregation hides. Write options.groups = 5 or more",
        ),
        (
            {"strategy": {"name": "median", "options": {"attackers": 4}}, "secure_aggregation": PLAIN},
            "strategy.options.attackers",
            "median needs 9 sites against so many attackers, and there are 8. Take more sites",
        ),
        (
            {"strategy": {"name": "krum", "options": {"attackers": 2, "groups": 5}}, **FIFTEEN},
            "strategy.options.groups",
            "krum needs 7 groups against so many attackers, and there are 5.",
        ),
        (
            {"strategy": {"name": "median", "options": {"attackers": 3, "groups": 7}}, **FIFTEEN},
            "strategy.options.groups",
            "7 groups of 15 sites have 2 in the smallest: 2 sites cannot defend against 0 colluders",
        ),
        (
            {
                "strategy": {"name": "median", "options": {"attackers": 2, "groups": 5}},
                "simulation": {"sites": 15},
            },
            "strategy.options.groups",
            "3 sites cannot defend against 1 colluders: the smallest sum must contain 3 honest sites",
        ),
        (
            {"strategy": {"name": "median", "options": {"groups": 20}}, **FIFTEEN},
            "strategy.options.groups",
            "20 groups of 15 sites have 0 in the smallest: a group without sites.",
        ),
        (
            {
                "strategy": {"name": "median", "options": {"groups": 5}},
                "cohort": {"size": 15},
                **FIFTEEN,
            },
            "cohort.size",
            "groups are fixed, and all their sites are asked. Remove it",
        ),
        (
            {"task": {"multi_label": True}, "simulation": {"attackers": {"site-1": "label_flip"}}},
            "simulation.attackers.site-1",
            "label_flip needs a classification with one class for each text.",
        ),
        (
            {"simulation": {"attackers": {"site-1": "labelflip"}}},
            "simulation.attackers.site-1",
            "Did you mean 'label_flip'?",
        ),
        ({"codec": {"ranges": {"C": 1.0}}}, "codec.ranges.C", "no kind of tensors. Known: A, B, head."),
        (
            {"codec": {"ranges": {"A": 0.0}}},
            "codec.ranges.A",
            "must be more than 0 and at most 1e+06, not 0.",
        ),
        ({"data": {"label_map": {"0": "A"}}}, "data.label_map.0", "no label of the task. Known: a, b."),
        (
            {"task": {"multi_label": True}, "data": {"label_map": {"0": "a|c"}}},
            "data.label_map.0",
            "no label of the task",
        ),
        ({"data": {"label_column": "text"}}, "data.label_column", "is the text column too"),
        ({"data": {"filter_column": "x"}}, "data.filter_column", "Set data.filter_value"),
        ({"training": {"microbatch_size": 5}}, "training.microbatch_size", "Use one of 4, 2, 1."),
        ({"training": {"microbatch_size": 32}}, "training.microbatch_size", "Use one of 16, 8, 4, 2, 1."),
        (
            {"strategy": {"weighting": "contrasting"}, "task": {"multi_label": True}},
            "strategy.weighting",
            'Write weighting = "examples"',
        ),
        ({"training": {"momentum": 0.9}}, "training.momentum", 'set optimizer = "sgd"'),
        ({"lora": {"target_modules": ["q", "q"]}}, "lora.target_modules[1]", "repeated"),
        ({"lora": {"target_modules": [""]}}, "lora.target_modules[0]", "empty"),
        ({"simulation": {"partition": "natural"}}, "simulation.partition", "Set partition_column"),
        (
            {"simulation": {"partition": "dirichlet"}, "task": {"multi_label": True}},
            "simulation.partition",
            "single labels",
        ),
        ({"simulation": {"sites": 4}, "cohort": {"size": 5}}, "cohort.size", "cannot be drawn from 4"),
        ({"cohort": {"size": 100_001}}, "cohort.size", "at most 100,000 sites"),
        ({"strategy": {"weight_cap": 2**51}}, "strategy.weight_cap", "not exact"),
    ],
)
def test_impossible_combinations(change, key, words):
    with pytest.raises(PlanError) as caught:
        BASE.replace(**change)
    (line,) = str(caught.value).split("\n")
    assert line.startswith(f"plan: {key}: ")
    assert words in line


def test_a_sum_that_does_not_fit_its_words():
    with pytest.raises(PlanError, match=r"cohort\.size: a sum over .* Use fewer sites"):
        BASE.replace(cohort={"size": 2**48})


@pytest.mark.parametrize(
    "change",
    [
        {"task": {"labels": ["a"], "multi_label": True}},
        {"task": {"labels": ["a", "b|c"]}},
        {"task": {"multi_label": True}, "data": {"label_map": {"0": "a|b"}}},
        {"training": {"microbatch_size": 16}},
        {"training": {"momentum": 0.9, "optimizer": "sgd"}},
        {"training": {"warmup_fraction": 0.1}},
        {"strategy": {"weighting": "contrasting"}, "training": {"label_calibration": 1.0}},
        {"task": {"multi_label": True}, "training": {"label_calibration": 1.0}},
        {"cohort": {"size": 5}, "simulation": {"sites": 5}},
        {"cohort": {"size": 100}},
        {"strategy": {"name": "scaffold"}, "training": {"optimizer": "sgd"}},
        {"strategy": {"name": "fedadam", "server_learning_rate": 1.0}},
        {"strategy": {"name": "fedprox", "options": {"mu": 0}}},
        {"strategy": {"name": "krum", "options": {"attackers": 1, "groups": 5}}, **FIFTEEN},
        {"codec": {"value_bits": 2, "rotation": True, "range": 0.05, "ranges": {"head": 0.1}}},
        {"lora": {"rank": 0}},
        {"lora": {"ranks": {"site-01": 8}}},
        {"lora": {"ranks": {"site-01": 4, "elsewhere": 1}}, "strategy": {"name": "hetlora"}},
        {"strategy": {"name": "flexlora", "options": {"width": 72}}},
        {"strategy": {"name": "flora", "options": {"width": 5, "lossy": True}}},
        {"simulation": {"partition": "natural", "partition_column": "ward"}, "cohort": {"size": 30}},
        {
            "simulation": {"sites": 3, "partition": "natural", "partition_column": "ward"},
            "cohort": {"size": 30},
        },
    ],
)
def test_combinations_that_are_fine(change):
    assert BASE.replace(**change).warnings == ()


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (
            {"simulation": {"partition_column": "ward"}},
            "simulation.partition_column",
            'without partition = "natural"',
        ),
        (
            {"simulation": {"dirichlet_alpha": 0.1}},
            "simulation.dirichlet_alpha",
            'without partition = "dirichlet"',
        ),
        ({"simulation": {"size_rule": "square"}}, "simulation.size_rule", 'without partition = "size"'),
        (
            {"strategy": {"name": "feddyn", "server_learning_rate": 0.5}},
            "strategy.server_learning_rate",
            "has no effect with feddyn",
        ),
        (
            {
                "strategy": {"name": "median", "options": {"groups": 3}},
                "simulation": {"attackers": {"site-1": "nan", "site-2": "nan"}, "sites": 12},
                "secure_aggregation": {"colluders": 0},
            },
            "simulation.attackers",
            "2 sites attack, and median withstands 1. Write options.attackers = 2 in [strategy]",
        ),
        ({"lora": {"rank": 0, "dropout": 0.1}}, "lora.dropout", "without a lora.rank above 0"),
        (
            {"lora": {"rank": 0, "target_modules": ["q"]}},
            "lora.target_modules",
            "without a lora.rank above 0",
        ),
        ({"data": {"filter_value": "x"}}, "data.filter_value", "without a filter_column"),
        ({"model": {"name": "bundled:x", "revision": "v1"}}, "model.revision", "without a hub's model"),
        ({"codec": {"value_bits": 4}}, "codec.value_bits", "15 levels over the whole range"),
        ({"codec": {"range": 2, "clip": 1}}, "codec.range", "wastes resolution"),
        ({"cohort": {"quorum": 0.9}, "simulation": {"dropout_rate": 0.2}}, "cohort.quorum", "only 80%"),
        ({"model": {"device": "cpu", "dtype": "bfloat16"}}, "model.dtype", "slower on a CPU"),
    ],
)
def test_doubtful_combinations(change, key, words):
    (line,) = BASE.replace(**change).warnings
    assert line.startswith(f"plan: {key}: ")
    assert words in line


def test_options_have_lines():
    text = 'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n[strategy]\nname = "fedprox"\n'
    with pytest.raises(PlanError, match=r"^plan.toml:7: strategy.options.nu: unknown key. Known: mu"):
        Plan.from_text(text + "[strategy.options]\nnu = 3")
    with pytest.raises(PlanError, match=r"^plan.toml:6: strategy.options.mu: must be at most 100, not 101"):
        Plan.from_text(text + "options = { mu = 101 }")


def test_warnings_have_lines():
    plan = Plan.from_text('schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n\ndata.filter_value = "x"')
    assert plan.warnings == ("plan.toml:5: data.filter_value: has no effect without a filter_column.",)
    assert plan.with_model_hash("0" * 64).warnings == plan.warnings

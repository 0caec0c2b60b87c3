"""Preference tuning: the loss is DPO's, its reference is the base alone, and metrics are sums."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sealora.models.preference import MAX_LOSS, Pair, PreferenceTuning
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.task import LOSS_UNITS, Record, UnusableRow, load_task

ASKED = (("user", "the film was good"),)


def task(max_length=24, **options):
    named = TaskSettings(name="preference_tuning", max_length=max_length, options=options)
    return PreferenceTuning(named)


@pytest.fixture(scope="module")
def tokenizer(tiny_chat_model):
    return AutoTokenizer.from_pretrained(tiny_chat_model)


@pytest.fixture(scope="module")
def model(tiny_chat_model):
    return AutoModelForCausalLM.from_pretrained(tiny_chat_model).eval()


def encoded(tokenizer, *pairs, **options):
    records = [Record((ASKED, chosen, rejected)) for chosen, rejected in pairs]
    return [example for example, _ in task(**options).encode(records, tokenizer)]


def read(**cells):
    keys = {f"{name}_column": cell for name, cell in cells.items()}
    data = DataSettings(messages_column="messages" if "messages" in cells else "", context_column="context")
    return task().reader(data)(keys).content


def test_pairs_are_read_from_prompts_or_conversations():
    assert read(prompt=" the film ", context=None, chosen="good", rejected="bad") == (
        (("user", "the film"),),
        "good",
        "bad",
    )
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "the film"}]
    answer = [*turns, {"role": "assistant", "content": "good"}]
    found = read(messages=turns, chosen=answer, rejected="bad")
    assert found == ((("system", "be kind"), ("user", "the film")), "good", "bad")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "empty_prompt"),
        ({"prompt": "x", "chosen": "a", "rejected": None}, "empty_response"),
        ({"prompt": "x", "chosen": " a", "rejected": "a "}, "two equal answers"),
        (
            {"messages": [{"role": "assistant", "content": "x"}], "chosen": "a", "rejected": "b"},
            "bad_messages",
        ),
        ({"messages": [], "chosen": "a", "rejected": "b"}, "bad_messages"),
    ],
)
def test_what_is_no_pair_is_dropped_with_its_reason(cells, reason):
    with pytest.raises(UnusableRow) as unusable:
        read(context=None, **cells)
    assert unusable.value.reason == reason


def test_only_the_answers_tokens_count(tokenizer):
    (example,) = encoded(tokenizer, ("a good story", "bad"))
    sides = zip((example.tokens, *example.others), example.target.places, strict=True)
    shown = [tokenizer.decode([tokens[place] for place in places]) for tokens, places in sides]
    assert shown == ["a good story </s>", "bad </s>"]
    assert example.length == len(example.tokens) > len(example.others[0])


def test_long_answers_are_cut_and_then_equal_ones_are_of_no_use(tokenizer):
    same = " ".join(["the"] * 12)
    first, second = encoded(
        tokenizer, (f"{same} good", f"{same} bad"), (f"good {same}", f"bad {same}"), max_length=16
    )
    assert first is None
    assert len(second.tokens) == len(second.others[0]) == 16


def test_a_pair_that_the_template_does_not_take_costs_itself_alone(tokenizer, monkeypatch):
    system = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
    monkeypatch.setattr(tokenizer, "chat_template", system + tokenizer.chat_template)
    asked = (("user", "the film was"),)
    rows = [
        Record((begun, "a warm story", "bad")) for begun in (asked, (("system", "be kind"), *asked), asked)
    ]
    first, dropped, last = (example for example, _ in task().encode(rows, tokenizer))
    assert first == last
    assert dropped.reason == "bad_turns"


def test_the_loss_is_dpos(model, tokenizer):
    """Equation 7, from log-probabilities that are looked up one by one."""
    ours = task(beta=0.3)
    examples = encoded(tokenizer, ("a good story", "bad"), ("the people and town", "a cold story"))
    references = [(-7.0, -3.0), (-11.5, -9.25)]
    examples = [ours.refer(e, torch.tensor(r)) for e, r in zip(examples, references, strict=True)]
    batch = ours.collate(examples, tokenizer, bytes(32), packed=True)
    with torch.inference_mode():
        outputs = ours.forward(model, batch)
    for found, example, reference in zip(outputs, examples, references, strict=True):
        sides = zip((example.tokens, *example.others), example.target.places, strict=True)
        chosen, rejected = (likelihood(model, tokens, places) for tokens, places in sides)
        assert found.tolist() == pytest.approx([chosen, rejected], rel=1e-5)
        margin = 0.3 * ((chosen - reference[0]) - (rejected - reference[1]))
        loss = ours.losses(found[None], torch.tensor([reference]))
        assert loss.tolist() == pytest.approx([math.log1p(math.exp(-margin))], rel=1e-4)


def likelihood(model, tokens, places):
    with torch.inference_mode():
        scores = model(torch.tensor([tokens])).logits[0].log_softmax(dim=-1)
    return sum(float(scores[place - 1, tokens[place]]) for place in places)


def test_the_base_itself_prefers_nothing():
    ours = task()
    outputs = torch.tensor([[-5.0, -4.0], [-1.0, -9.0]])
    found = metrics(ours, (outputs, outputs))
    assert found["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert (found["margin"], found["accuracy"]) == (0.0, 0.5)
    rounded = outputs + torch.tensor([[1e-4, 0.0], [2e-4, 0.0]])
    assert metrics(ours, (outputs, rounded))["accuracy"] == 0.5


def metrics(ours, *batches):
    counts = [ours.count(*batch) for batch in batches]
    return ours.metrics({part.name: sum(c[part.name] for c in counts).astype(float) for part in ours.sums()})


def test_metrics_are_means_over_pairs_however_they_are_split():
    ours = task(beta=0.5)
    outputs = torch.tensor([[-5.0, -4.0], [-1.0, -9.0], [-3.0, -3.0]])
    targets = torch.tensor([[-6.0, -3.0], [-1.0, -8.0], [-1.0, -4.0]])
    rewards = 0.5 * (outputs - targets)
    expected = {
        "loss": -torch.nn.functional.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean(),
        "margin": (rewards[:, 0] - rewards[:, 1]).mean(),
        "accuracy": 2 / 3,
        "chosen_reward": rewards[:, 0].mean(),
        "rejected_reward": rewards[:, 1].mean(),
    }
    whole = metrics(ours, (outputs, targets))
    split = metrics(ours, *((outputs[row : row + 1], targets[row : row + 1]) for row in range(3)))
    for name, value in expected.items():
        assert whole[name] == pytest.approx(float(value), abs=2 / LOSS_UNITS)
        assert split[name] == pytest.approx(float(value), abs=2 / LOSS_UNITS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_a_broken_model_stays_within_the_declared_bounds(bad):
    ours = task()
    counts = ours.count(torch.tensor([[bad, 0.0], [0.0, bad]]), torch.zeros(2, 2))
    for part in ours.sums():
        assert counts[part.name].shape == (part.length,)
        assert counts[part.name].dtype == np.int64
        assert 0 <= counts[part.name].min() <= counts[part.name].max() <= part.bound
    assert counts["rewards"].max() <= 2 * MAX_LOSS * LOSS_UNITS


def test_nothing_counted_is_nan():
    ours = task()
    nothing = {part.name: np.zeros(part.length) for part in ours.sums()}
    assert all(math.isnan(value) for value in ours.metrics(nothing).values())


def test_the_task_is_known_by_its_name_and_makes_up_examples(tokenizer):
    ours = load_task(task().settings)
    assert isinstance(ours, PreferenceTuning)
    made = ours.synthetic(list(range(8)), 0)
    assert made.others == ((0, 1, 2, 3, 7, 6, 5, 4),)
    assert isinstance(made.target, Pair)
    assert ours.collate([made], tokenizer, bytes(32), packed=False).targets.shape == (1, 2)

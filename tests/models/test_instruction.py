"""Instruction tuning: answers alone are learnt, packed rows do not see each other, and sums add up."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from sealora.models.base import load_base
from sealora.models.cleaning import clean
from sealora.models.instruction import InstructionTuning
from sealora.models.settings import DataSettings, ModelSettings, TaskSettings
from sealora.models.task import LOSS_UNITS, Example
from sealora.models.token_metrics import MAX_LOSS
from sealora.models.token_scores import LEFT_OUT, fit
from sealora.protocol.errors import ModelError, PlanError


def task(**options):
    length = options.pop("max_length", 32)
    return InstructionTuning(TaskSettings(name="instruction_tuning", max_length=length, options=options))


@pytest.fixture(scope="module")
def base(tiny_chat_model):
    return load_base(ModelSettings(name=str(tiny_chat_model), device="cpu"), task())


def table(rows):
    import datasets

    return datasets.Dataset.from_list(rows)


def cleaned(base, rows, ours=None, **data):
    return clean(table(rows), DataSettings(**data), ours or task(), base.tokenizer)


def words(base, tokens):
    return " ".join(base.tokenizer.convert_ids_to_tokens(list(tokens)))


PAIR = {"prompt": "the film was good", "response": "a warm story"}


def test_answers_alone_are_learnt_with_their_end(base):
    ((row,), _) = cleaned(base, [PAIR])
    example = row.example
    assert (
        words(base, example.tokens) == "<s> user : the film was good </s> <s> assistant : a warm story </s>"
    )
    assert words(base, [example.tokens[place] for place in example.target]) == "a warm story </s>"
    assert example.weight == 4


def test_every_answer_of_a_conversation_is_learnt(base):
    messages = [
        {"role": "user", "content": "the film"},
        {"role": "assistant", "content": "good"},
        {"role": "user", "content": "and the story"},
        {"role": "assistant", "content": "bad"},
    ]
    ((row,), _) = cleaned(base, [{"chat": messages}], messages_column="chat")
    learnt = [row.example.tokens[place] for place in row.example.target]
    assert words(base, learnt) == "good </s> bad </s>"


def test_a_system_message_and_a_context_come_first(base):
    rows, _ = cleaned(base, [{**PAIR, "of": "people in town"}], task(system="kind"), context_column="of")
    assert words(base, rows[0].example.tokens).startswith(
        "<s> system : kind </s> <s> user : the film was good people in town </s> <s> assistant"
    )


def test_a_model_without_a_chat_template_gets_a_plain_one(base, monkeypatch):
    monkeypatch.setattr(base.tokenizer, "chat_template", None)
    ((row,), _) = cleaned(base, [PAIR])
    assert words(base, row.example.tokens) == "user : the film was good </s> assistant : a warm story </s>"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": " ", "response": "a"}, "empty_prompt"),
        ({"prompt": "a", "response": None}, "empty_response"),
        (PAIR, "duplicate"),
        ({"prompt": "a " * 40, "response": "good"}, "too_long"),
    ],
)
def test_rows_that_cannot_be_used(base, row, reason):
    _, report = cleaned(base, [PAIR, row])
    assert report.dropped == {reason: 1}
    assert report.labels == {}


@pytest.mark.parametrize(
    "messages",
    [
        "no JSON",
        "[]",
        "7",
        '["a"]',
        '[{"role": "user", "content": "a"}]',
        '[{"role": "nobody", "content": "a"}, {"role": "assistant", "content": "a"}]',
        '[{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]',
        '[{"role": "user"}, {"role": "assistant", "content": "a"}]',
    ],
)
def test_conversations_that_are_none(base, messages):
    good = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "good"}]'
    _, report = cleaned(base, [{"chat": good}, {"chat": messages}], messages_column="chat")
    assert report.dropped == {"bad_messages": 1}


ALTERNATING = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate.') }}{% endif %}"
    "{{ '<s>' + m['role'] + ' : ' + m['content'] + ' </s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant : ' }}{% endif %}"
)


def test_a_conversation_that_the_template_does_not_take_costs_itself_alone(base, monkeypatch):
    """No refusal of a whole site may depend on one row."""
    monkeypatch.setattr(base.tokenizer, "chat_template", ALTERNATING)
    asked, again = {"role": "user", "content": "the film"}, {"role": "user", "content": "was good"}
    answer = {"role": "assistant", "content": "a warm story"}
    good, bad = [asked, answer], [asked, again, answer]
    ours = [{"messages": turns} for turns in (good, bad, good)]
    rows, report = cleaned(base, ours, messages_column="messages", drop_duplicates=False)
    assert [row.index for row in rows] == [0, 2]
    assert report.dropped == {"bad_turns": 1}
    assert report.examples == {"bad_turns": (2,)}
    assert "1 dropped: turns that the model's chat template does not take (row 2)" in report.lines()
    with pytest.raises(ModelError, match="chat template refuses a conversation: Roles must alternate"):
        cleaned(base, ours[1:2], messages_column="messages")


def test_a_template_that_takes_no_conversation_is_told(base, monkeypatch):
    monkeypatch.setattr(base.tokenizer, "chat_template", "{{ raise_exception('No system messages.') }}")
    with pytest.raises(ModelError, match="No system messages"):
        cleaned(base, [PAIR, PAIR])


def test_long_answers_are_cut_and_counted(base):
    rows, report = cleaned(base, [{"prompt": "the", "response": "good " * 40}])
    assert (report.truncated, len(rows[0].example.tokens)) == (1, 32)
    _, report = cleaned(base, [PAIR, {"prompt": "the", "response": "good " * 40}], too_long="drop")
    assert report.dropped == {"too_long": 1}


def examples(count=7, seed=0):
    draw = np.random.default_rng(seed)
    return [task().synthetic(draw.integers(7, 24, draw.integers(3, 20)).tolist(), n) for n in range(count)]


def scores(base, rows, packed, ours=None):
    ours = ours or task()
    batch = ours.collate(rows, base.tokenizer, bytes(32), packed)
    with torch.no_grad():
        return ours.forward(base.model, batch), batch


def test_losses_are_those_of_torch_over_all_positions(base):
    rows = examples()
    outputs, batch = scores(base, rows, packed=False)
    losses = task().losses(outputs, batch.targets)
    for example, loss in zip(rows, losses, strict=True):
        with torch.no_grad():
            logits = base.model(torch.tensor([example.tokens])).logits[0]
        labels = torch.full((len(example.tokens),), LEFT_OUT)
        labels[list(example.target)] = torch.tensor(example.tokens)[list(example.target)]
        expected = functional.cross_entropy(logits[:-1], labels[1:])
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_packed_rows_do_not_see_each_other(base):
    rows = examples(12)
    apart, one = scores(base, rows, packed=False)
    together, other = scores(base, rows, packed=True)
    assert other.inputs["input_ids"].shape[0] < len(rows) / 1.5
    assert torch.equal(one.targets, other.targets)
    known = one.targets != LEFT_OUT
    assert torch.allclose(apart[known], together[known], atol=1e-5)


def test_packing_can_be_switched_off(base):
    _, batch = scores(base, examples(5), packed=True, ours=task(packing=False))
    assert batch.inputs["input_ids"].shape[0] == 5


def test_bins_hold_what_fits():
    assert fit([3, 9, 5, 1, 2], 10) == [[1, 3], [2, 0, 4]]
    assert fit([12], 10) == [[0]], "what is too long has a row of its own"


def counted(base, rows, ours=None):
    outputs, batch = scores(base, rows, packed=False, ours=ours)
    return (ours or task()).count(outputs, batch.targets)


def test_perplexity_is_by_token_whatever_the_batches(base):
    rows, ours = examples(9), task()
    whole = counted(base, rows)
    parts = [counted(base, rows[:4]), counted(base, rows[4:])]
    for name in whole:
        added = sum(part[name] for part in parts)
        assert abs(int(added[0]) - int(whole[name][0])) <= (2 if name == "loss" else 0)
    found = ours.metrics({name: counts.astype(float) for name, counts in whole.items()})
    losses = np.array([c["loss"][0] / LOSS_UNITS for c in (counted(base, [row]) for row in rows)])
    tokens = sum(len(row.target) for row in rows)
    assert found["loss"] == pytest.approx(losses.sum() / tokens, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert 0 <= found["token_accuracy"] <= 1
    assert ours.tables({n: c.astype(float) for n, c in whole.items()}) == {"tokens": tokens, "rows": 9}


def test_counts_are_within_the_declared_bounds_and_one_rows_within_its_norm(base):
    for example in examples():
        counts = counted(base, [example])
        for part in task().sums():
            assert counts[part.name].dtype == np.int64
            assert 0 <= counts[part.name][0] <= min(part.bound, part.norm)


def test_a_broken_model_is_counted_as_a_bad_one():
    outputs = torch.tensor([[[math.nan, 0.0], [math.inf, 0.0]]])
    counts = task().count(outputs, torch.tensor([[1, 2]]))
    assert counts["loss"][0] == 2 * MAX_LOSS * LOSS_UNITS


@pytest.mark.parametrize("tokens", [0.0, -3.0])
def test_nothing_counted_is_nan(tokens):
    found = task().metrics({"loss": np.ones(1), "tokens": np.array([tokens]), "correct": np.ones(1)})
    assert all(math.isnan(value) for value in found.values())


def test_there_are_no_classes():
    with pytest.raises(PlanError, match=r"has no classes"):
        task().class_bias([])


def test_padding_at_the_left_changes_no_answer(base):
    from types import SimpleNamespace

    reader = SimpleNamespace(model=base.model, tokenizer=base.tokenizer)
    ours = task(max_new_tokens=5)
    asked = [ours.prompt(text, base.tokenizer) for text in ("the film", "a story of people in town was good")]
    together = ours.predict(reader, asked)
    assert together == [ours.predict(reader, [one])[0] for one in asked]
    assert all(len(answer["response"].split()) <= 5 for answer in together)
    assert ours.line({"response": "a\nb  c"}) == "a b c"


def test_a_prompt_that_is_too_long_keeps_its_end(base):
    example = task(max_length=8).prompt("the " * 30 + "film", base.tokenizer)
    assert words(base, example.tokens).endswith("film </s> <s> assistant :")
    assert len(example.tokens) == 8


def test_an_example_is_as_long_as_its_longest_sequence():
    assert Example((1, 2), 0).length == 2
    assert Example((1, 2), 0, others=((1, 2, 3),)).length == 3

"""A whole run on pairs of answers: on pairs that were held out, the better one becomes the likelier."""

import json
import random

import pytest

import sealora

PRAISE = ("good", "warm", "bright", "kind")
BLAME = ("bad", "cold", "dull", "cruel")
OTHERS = ("the", "film", "was", "and", "of", "people", "in", "town")
TASK = (
    (
        'labels = ["negative", "positive"]',
        'name = "preference_tuning"\noptions = { beta = 0.5, max_new_tokens = 4 }',
    ),
    ("max_length = 16", "max_length = 32"),
    ("batch_size = 8", "batch_size = 4\nepochs = 3"),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A table of 60 prompts, each with a friendly answer, which is preferred, and an unfriendly one."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = []
    for number in range(60):
        draw = random.Random(number)
        asked = " ".join(["the film was", *draw.choices(OTHERS, k=draw.randint(2, 8))])
        friendly, unfriendly = (
            " ".join(["a", *draw.sample(words, 2), draw.choice(("story", "film"))])
            for words in (PRAISE, BLAME)
        )
        rows.append({"prompt": asked, "chosen": friendly, "rejected": unfriendly})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_the_margin_rises_on_pairs_that_were_held_out(tiny, tiny_chat_model, pairs, command, tmp_path):
    plan = tiny.plan(tmp_path, *TASK, model=tiny_chat_model, data=pairs)
    run = sealora.simulate(plan, tmp_path / "run")
    first, last = run.result["curve"][0], run.result["curve"][-1]
    assert first["margin"] == pytest.approx(0.0, abs=1e-4)
    assert last["margin"] > 0.1
    assert last["accuracy"] > 0.6
    assert last["loss"] < first["loss"]
    measured = run.evaluate(pairs).metrics
    assert measured["margin"] > 0.1
    code, out, _ = command("predict", run.folder.path, "the film was good", "--json")
    assert code == 0
    assert isinstance(json.loads(out)["response"], str)

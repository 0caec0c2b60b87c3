"""A whole run that learns to find entities, and what is done with it."""

import json
import random

import pytest

import sealora

PLACES = ("town", "people")
MOODS = ("good", "warm", "bright", "bad", "cold", "dull")
OTHERS = ("the", "film", "was", "and", "a", "story", "of", "in")
TASK = (
    ('labels = ["negative", "positive"]', 'name = "token_classification"\nlabels = ["PLACE", "MOOD"]'),
    ("max_length = 16", 'max_length = 24\noptions = { scheme = "bioes" }'),
    ("rank = 2", "rank = 4"),
    ("batch_size = 8", "batch_size = 4\nepochs = 5"),
)
PROMISE = """[privacy]
guarantee = "record"
epsilon = 8.0
delta = 1e-3
sampling_rate = 0.25
expected_batch = 5.0
metrics = "noised"

[strategy]
weighting = "uniform"

[rounds]"""


def sentence(number):
    """Words and BIOES tags: a place is one word, a mood one or two."""
    draw = random.Random(number)
    words, tags = [], []
    for _ in range(draw.randint(2, 4)):
        words += [draw.choice(OTHERS), draw.choice(PLACES)]
        tags += ["O", "S-PLACE"]
        mood = draw.sample(MOODS, draw.randint(1, 2))
        words += [draw.choice(OTHERS), *mood]
        tags += ["O", *(["S-MOOD"] if len(mood) == 1 else ["B-MOOD", "E-MOOD"])]
    return words, tags


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """A table of 100 sentences."""
    path = tmp_path_factory.mktemp("tagged") / "wards.jsonl"
    rows = (dict(zip(("tokens", "tags"), sentence(number), strict=True)) for number in range(100))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(tiny, tagged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("entities")
    return sealora.simulate(tiny.plan(folder, *TASK, data=tagged), folder / "run")


@pytest.mark.slow
def test_the_sites_learn_to_find_entities(run):
    first, last = (run.result["curve"][place]["f1"] for place in (0, -1))
    assert first < 0.3
    assert last > 0.6
    assert run.metrics["strict_f1"] <= 1
    sites = run.result["sites"].values()
    assert sum(site["cleaning"]["labels"]["MOOD|PLACE"] for site in sites) == 100


@pytest.mark.slow
def test_entities_are_predicted_and_measured_by_the_command(run, command, tmp_path):
    code, out, _ = command("predict", run.folder.path, "the town was bright", "--json")
    assert code == 0
    found = json.loads(out)
    assert ("PLACE", "town", 4, 8) in {
        (entity["type"], entity["text"], entity["start"], entity["end"]) for entity in found["entities"]
    }
    code, out, _ = command("predict", run.folder.path, "the town was bright")
    assert "town [PLACE]" in out
    table = tmp_path / "ward.conll"
    lines = ["\n".join(map(" ".join, zip(*sentence(number), strict=True))) for number in range(5)]
    table.write_text("\n\n".join(lines))
    code, out, _ = command("evaluate", run.folder.path, "--data", table)
    assert code == 0
    assert "5 of 5 rows kept" in out
    assert "PLACE" in out


@pytest.mark.slow
def test_a_private_run_clips_rows_and_releases_noised_scores(tiny, tagged, tmp_path):
    edits = (("[rounds]", PROMISE), ("[lora]", "drop_duplicates = false\n\n[lora]"))
    plan = tiny.plan(tmp_path, *TASK, *edits, data=tagged)
    found = sealora.simulate(plan, tmp_path / "run", rounds=1)
    assert 0 <= found.metrics["f1"] <= 1
    assert all(epsilon <= 8 for epsilon in found.result["privacy"]["sites"].values())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (('scheme = "bioes"', 'scheme = "bioe"'), "scheme"),
        (('labels = ["PLACE", "MOOD"]', "labels = []"), "has 0 of at least 1 class names"),
        (("max_length", "multi_label = true\nmax_length"), "chooses one label each time"),
        (("[lora]", 'label_map = { x = "B-MOD" }\n\n[lora]'), "is renamed to no label of the task"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(tiny, tagged, tmp_path, edit, message):
    with pytest.raises(sealora.SealoraError, match=message):
        sealora.simulate(tiny.plan(tmp_path, *TASK, edit, data=tagged), tmp_path / "run")

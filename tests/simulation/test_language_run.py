"""Whole runs of language tasks: simulated, resumed from their folder, asked and measured."""

import math

import pytest

import sealora

EDITS = (
    ('labels = ["negative", "positive"]', 'name = "instruction_tuning"\noptions = { max_new_tokens = 4 }'),
    ("max_length = 16", "max_length = 40"),
)


def plan_of(tiny, tiny_chat_model, chats, folder, *edits):
    return tiny.plan(folder, *EDITS, *edits, model=tiny_chat_model, data=chats)


@pytest.mark.slow
def test_each_user_a_site(tiny, tiny_chat_model, chats, tmp_path):
    path = plan_of(
        tiny,
        tiny_chat_model,
        chats,
        tmp_path,
        ("sites = 5", 'partition = "natural"\npartition_column = "user"'),
    )
    run = sealora.simulate(path, tmp_path / "run", rounds=2, compare=True)
    assert run.result["headline"] == "perplexity"
    assert sorted(run.result["sites"]) == ["user-0", "user-1", "user-2", "user-3"]
    curve = [point["perplexity"] for point in run.result["curve"]]
    assert curve[-1] < curve[0]
    assert curve[-1] == pytest.approx(math.exp(run.metrics["loss"]))
    (answer,) = run.predict(["the film was good"])
    assert set(answer) == {"response"}
    measured = run.evaluate(chats)
    assert measured.tables["rows"] == measured.report.rows_kept
    renamed = tmp_path / "renamed.csv"
    renamed.write_text(chats.read_text().replace("prompt,response", "asked,told"))
    assert run.evaluate(renamed, prompt_column="asked", response_column="told").metrics == measured.metrics


@pytest.mark.slow
def test_masks_change_nothing(tiny, tiny_chat_model, chats, tmp_path):
    secure = plan_of(tiny, tiny_chat_model, chats, tmp_path / "a")
    plain = plan_of(
        tiny,
        tiny_chat_model,
        chats,
        tmp_path / "b",
        ("[rounds]", "[secure_aggregation]\nenabled = false\n[rounds]"),
    )
    hashes = {
        sealora.simulate(path, tmp_path / f"run-{number}", rounds=1).result["adapter_sha256"]
        for number, path in enumerate((secure, plain))
    }
    assert len(hashes) == 1


@pytest.mark.slow
def test_users_are_units_of_privacy(tiny, tiny_chat_model, chats, tmp_path):
    privacy = (
        '[privacy]\nguarantee = "record"\nunit = "group"\nepsilon = 50.0\ndelta = 1e-3\nexpected_batch = 2\n'
        'sampling_rate = 0.5\nsteps_per_round = 2\nrecords_per_unit = 2\nmetrics = "withheld"\n[rounds]'
    )
    path = plan_of(
        tiny,
        tiny_chat_model,
        chats,
        tmp_path,
        ("[rounds]", privacy),
        (
            "[lora]",
            'group_column = "user"\ndrop_duplicates = false\n[strategy]\nweighting = "uniform"\n[lora]',
        ),
        ("sites = 5", 'partition = "natural"\npartition_column = "user"\nminimum_rows = 2'),
    )
    run = sealora.simulate(path, tmp_path / "run", rounds=1)
    assert run.result["privacy"]["epsilon"] > 0

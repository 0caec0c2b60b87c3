"""The public API: its names, and finished runs that predict and evaluate."""

import json
import shutil
import subprocess
import sys

import pytest

import sealora
from sealora.protocol.errors import DataError, PlanError, UsageError

pytestmark = pytest.mark.slow


def test_the_exported_names():
    names = {"Comparison", "Plan", "Run", "SealoraError", "__version__", "audit", "compare", "simulate"}
    assert set(sealora.__all__) == names
    assert all(getattr(sealora, name) is not None for name in sealora.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        _ = sealora.nope


def test_importing_it_imports_nothing_heavy():
    script = "import sys, sealora; print(sorted({'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def run(finished):
    return sealora.Run.load(finished)


def test_a_run_knows_its_figures(run, finished):
    assert run.metrics == json.loads((finished / "result.json").read_text())["metrics"]
    assert run.plan.rounds.count == 2
    assert run.adapter_path == finished / "adapter"


def test_predictions(run):
    texts = ["good film", "bad film", "", "word " * 100]
    predictions = run.predict(texts)
    assert len(predictions) == 4
    for prediction in predictions:
        assert prediction["label"] in ("negative", "positive")
        assert set(prediction["scores"]) == {"negative", "positive"}
        assert sum(prediction["scores"].values()) == pytest.approx(1, abs=1e-5)
    for text, prediction in zip(texts, predictions, strict=True):
        alone = run.predict([text])[0]["scores"]["positive"]
        assert alone == pytest.approx(prediction["scores"]["positive"], abs=1e-5)
    assert run.predict([]) == []


def test_plain_peft_predicts_the_same(run, finished, tiny):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = AutoModelForSequenceClassification.from_pretrained(tiny.model, num_labels=2)
    theirs = PeftModel.from_pretrained(base, finished / "adapter").eval()
    tokens = AutoTokenizer.from_pretrained(tiny.model)(["good film"], return_tensors="pt")
    with torch.inference_mode():
        score = float(theirs(**tokens).logits.softmax(1)[0, 1])
    assert run.predict(["good film"])[0]["scores"]["positive"] == pytest.approx(score, abs=1e-6)


def test_evaluation(run, tiny, tmp_path):
    evaluation = run.evaluate(tiny.data)
    assert evaluation.report.rows_kept == 100
    assert evaluation.metrics["accuracy"] == pytest.approx(
        sum(p["label"] == label for p, label in labelled(run, tiny.data)) / 100
    )
    renamed = tmp_path / "other.csv"
    renamed.write_text(tiny.data.read_text().replace("text,label", "note,diagnosis", 1))
    again = run.evaluate(str(renamed), text_column="note", label_column="diagnosis")
    assert again.metrics == evaluation.metrics
    with pytest.raises(DataError, match="has no column 'text'"):
        run.evaluate(renamed)


def labelled(run, path):
    rows = [line.rsplit(",", 1) for line in path.read_text().splitlines()[1:]]
    return list(zip(run.predict([text for text, _ in rows]), [label for _, label in rows], strict=True))


def test_another_adapter_in_the_folder_is_noticed(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    path = copy / "adapter" / "adapter_model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UsageError, match="is not the one that this run made"):
        sealora.Run.load(copy).predict(["good film"])


def test_a_plan_by_path_or_as_it_is(tiny, tmp_path):
    path = tiny.plan(tmp_path)
    plan = sealora.Plan.load(path)
    first = sealora.simulate(plan, tmp_path / "1", rounds=1)
    second = sealora.simulate(str(path), str(tmp_path / "2"), rounds=1)
    assert first.result["adapter_sha256"] == second.result["adapter_sha256"]
    assert plan.rounds.count == 3, "the plan that was given stays as it is"
    with pytest.raises(PlanError, match="there is no such file"):
        sealora.Plan.load(tmp_path / "none.toml")


def test_nothing_is_printed(tiny, tmp_path, capfd):
    sealora.simulate(tiny.plan(tmp_path), tmp_path / "run", rounds=1)
    assert capfd.readouterr() == ("", "")

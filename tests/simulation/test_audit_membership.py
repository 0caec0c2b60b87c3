"""Membership: who is compared with whom, what scores prove, and when there is nobody to compare with."""

import math
import shutil

import numpy as np
import pytest

import sealora
from sealora.models.table import draw_rows, read_table, undrawn_rows
from sealora.protocol.errors import DataError, UsageError
from sealora.simulation import audit_membership as membership
from sealora.simulation.audit_membership import measure
from sealora.simulation.audit_report import Inapplicable
from sealora.simulation.run_folder import RunFolder

PRIVATE = """
[strategy]
weighting = "uniform"

[privacy]
guarantee = "record"
epsilon = 1.0
delta = 1e-3
sampling_rate = 0.5
expected_batch = 6
steps_per_round = 1
"""


def silent(_):
    pass


@pytest.fixture(scope="module")
def private(tiny, tmp_path_factory):
    """A private run on 60 of the 100 rows."""
    return _private(tiny, tmp_path_factory.mktemp("private"), "rows = 60\n")


def _private(tiny, folder, rows="", extra=""):
    path = tiny.plan(
        folder, ("[lora]", f"drop_duplicates = false\n{rows}\n[lora]"), ("count = 3", "count = 1")
    )
    path.write_text(path.read_text() + PRIVATE + extra)
    sealora.simulate(path, folder / "run")
    return RunFolder.open(folder / "run")


def test_scores_that_tell_and_scores_that_do_not():
    draw = np.random.default_rng(0)
    told = measure(draw.normal(9.0, 1, 500), draw.normal(0, 1, 500), 1e-5)
    assert told["auc"] == told["true_positive_rate"] == 1.0
    assert told["false_positive_rate"] == 0.01
    assert 3.5 < told["epsilon_shown"] < math.log(100)
    blind = measure(draw.normal(0, 1, 500), draw.normal(0, 1, 500), 1e-5)
    assert blind["auc"] == pytest.approx(0.5, abs=0.06)
    assert blind["true_positive_rate"] < 0.04
    assert blind["epsilon_shown"] == 0


def test_equal_scores_find_nobody():
    even = measure(np.zeros(50), np.zeros(50), 0.0)
    assert (even["auc"], even["true_positive_rate"], even["epsilon_shown"]) == (0.5, 0, 0)


def test_the_drawn_rows_and_the_others_are_the_table(tiny):
    table = read_table(sealora.Plan.from_text(tiny_text(tiny)).data, ("text_column", "label_column"))
    drawn, left = draw_rows(table, 60, 3), undrawn_rows(table, 60, 3)
    assert (len(drawn), len(left)) == (60, 40)
    assert sorted([*drawn["text"], *left["text"]]) == sorted(table["text"])
    assert len(undrawn_rows(table, 0, 3)) == len(undrawn_rows(table, 100, 3)) == 0


def tiny_text(tiny):
    return f'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\ndata.path = "{tiny.data}"\n'


@pytest.mark.slow
def test_an_open_run_is_compared_with_its_held_out_rows(finished):
    finding = membership.audit_membership(RunFolder.open(finished), None, 0, silent)
    assert finding.verdict == "no claim"
    assert finding.figures["members"] == 80
    assert finding.figures["strangers"] == 20
    assert "held-out rows" in finding.found
    assert 0.3 < finding.figures["loss"]["auc"] < 0.9


@pytest.mark.slow
def test_losses_are_the_models_own(finished, tmp_path):
    run = sealora.Run.load(finished)
    folder = run.folder
    federation = membership.assemble(run.plan, tmp_path)
    tensors = folder.load_adapter(federation.initial.layout).tensors
    losses = membership.row_losses(federation, tensors, federation.test_rows, silent)
    assert losses.mean() == pytest.approx(run.metrics["loss"], abs=1e-4)


@pytest.mark.slow
def test_a_private_run_is_compared_with_rows_that_no_site_was_dealt(private):
    finding = membership.audit_membership(private, 1.0, 0, silent)
    assert finding.verdict == "holds"
    assert finding.figures["members"] == 60
    assert finding.figures["strangers"] == 40
    assert "no site was dealt" in finding.found
    assert "at most 2.8%" in finding.claimed


@pytest.mark.slow
def test_an_adapter_that_tells_breaks_a_small_claim(private, monkeypatch):
    """Members lose their whole loss in training, strangers none of it."""

    def losses(federation, tensors, examples, tell):
        members = {example.tokens for example in federation.train_rows}
        before = tensors is federation.initial.tensors
        return np.array([1.0 if before or e.tokens not in members else 0.0 for e in examples])

    monkeypatch.setattr(membership, "row_losses", losses)
    finding = membership.audit_membership(private, 1.0, 0, silent)
    assert finding.figures["calibrated"]["auc"] == 1
    assert finding.figures["epsilon_shown"] > 1
    assert finding.verdict == "broken"


@pytest.mark.slow
def test_a_public_table_is_used_where_all_rows_trained(tiny, tmp_path):
    extra = f'metrics = "public"\npublic_holdout = "{tiny.data}"\n'
    folder = _private(tiny, tmp_path, extra=extra)
    finding = membership.audit_membership(folder, 1.0, 0, silent)
    assert "the public table, which may differ" in finding.found
    assert finding.verdict == "no claim"


@pytest.mark.slow
def test_where_all_rows_trained_there_is_nothing_to_compare_with(tiny, tmp_path):
    with pytest.raises(Inapplicable, match=r"all rows of the table trained.*Set data\.rows below"):
        membership.audit_membership(_private(tiny, tmp_path), 1.0, 0, silent)


@pytest.mark.slow
def test_too_few_rows_are_refused(finished, monkeypatch):
    monkeypatch.setattr(membership, "FEWEST", 21)
    with pytest.raises(Inapplicable, match="80 training rows and 20 others are too few"):
        membership.audit_membership(RunFolder.open(finished), None, 0, silent)


@pytest.mark.slow
def test_other_rows_than_the_runs_are_noticed(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    table = tmp_path / "other.csv"
    table.write_text("\n".join(["text,label", *(f"film {n},positive" for n in range(60))]) + "\n")
    text = (folder.path / "plan.toml").read_text()
    path = folder.plan.data.path
    (folder.path / "plan.toml").write_text(text.replace(path, str(table)))
    with pytest.raises(DataError, match="no longer what the run trained on"):
        membership.audit_membership(folder, None, 0, silent)


@pytest.mark.slow
def test_another_base_model_is_noticed(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    result = (tmp_path / "run" / "result.json").read_text()
    digest = RunFolder.open(tmp_path / "run").result["model_hash"]
    (tmp_path / "run" / "result.json").write_text(result.replace(digest, "0" * 64))
    with pytest.raises(UsageError, match="not the one that the run began with"):
        membership.audit_membership(RunFolder.open(tmp_path / "run"), None, 0, silent)

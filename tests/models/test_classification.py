"""Metrics against scikit-learn, from sum vectors that add up over any split of the rows."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from sealora.models.classification import BINS, MAX_LOSS, Classification
from sealora.models.settings import TaskSettings
from sealora.models.task import LOSS_UNITS, load_task
from sealora.protocol.errors import DataError, PlanError

NAMES = ("none", "mild", "severe", "fatal")


def task(classes, multi_label=False):
    return Classification(TaskSettings(labels=NAMES[:classes], multi_label=multi_label))


def rows(classes, multi_label, count=400, seed=0):
    """(logits, targets): scores that know something of the truth."""
    draw = np.random.default_rng(seed)
    if multi_label:
        truth = (draw.random((count, classes)) < 0.4).astype(np.float32)
        noise = draw.normal(size=(count, classes))
        return torch.tensor(truth * 1.5 - 0.7 + noise).float(), torch.tensor(truth)
    truth = draw.choice(classes, count, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    return torch.tensor(
        np.eye(classes)[truth] * 1.2 + draw.normal(size=(count, classes))
    ).float(), torch.tensor(truth)


def added(task, *batches):
    """The sum vector over batches, as the coordinator gets it."""
    counts = [task.count(logits, targets) for logits, targets in batches]
    return {part.name: sum(c[part.name] for c in counts).astype(float) for part in task.sums()}


KINDS = [(2, False), (3, False), (4, False), (1, True), (3, True)]


@pytest.mark.parametrize(("classes", "multi_label"), KINDS)
def test_against_scikit_learn(classes, multi_label):
    ours = task(classes, multi_label)
    logits, targets = rows(classes, multi_label)
    sums = added(ours, (logits, targets))
    found, tables = ours.metrics(sums), ours.tables(sums)
    truth = targets.numpy().astype(int)
    scores = (logits.sigmoid() if multi_label else logits.softmax(1)).numpy()
    decided = (scores >= 0.5).astype(int) if multi_label else scores.argmax(1)
    options = {"average": "macro", "zero_division": 0.0}
    if not multi_label:
        options["labels"] = range(classes)
        assert tables["confusion"] == sklearn.confusion_matrix(truth, decided, labels=range(classes)).tolist()
    elif classes == 1:
        options["average"] = "binary"
    assert found["accuracy"] == sklearn.accuracy_score(truth, decided)
    assert found["macro_f1"] == pytest.approx(sklearn.f1_score(truth, decided, **options))
    precision, recall, _, support = sklearn.precision_recall_fscore_support(
        truth, decided, average=None, zero_division=0.0, **({} if multi_label else {"labels": range(classes)})
    )
    for index, name in enumerate(NAMES[:classes]):
        # With one column scikit-learn reports both classes of a binary problem.
        at = 1 if multi_label and classes == 1 else index
        row = tables["classes"][name]
        assert row["precision"] == pytest.approx(precision[at])
        assert row["recall"] == pytest.approx(recall[at])
        assert row["support"] == support[at]
    assert found["auroc"] == pytest.approx(auroc(truth, scores, multi_label), abs=1 / BINS)


def auroc(truth, scores, multi_label):
    if multi_label:
        return np.mean([sklearn.roc_auc_score(truth[:, k], scores[:, k]) for k in range(scores.shape[1])])
    if scores.shape[1] == 2:
        return sklearn.roc_auc_score(truth, scores[:, 1])
    return sklearn.roc_auc_score(truth, scores, multi_class="ovr", average="macro")


@pytest.mark.parametrize(("classes", "multi_label"), KINDS)
def test_the_loss_is_the_mean_of_torchs(classes, multi_label):
    ours = task(classes, multi_label)
    logits, targets = rows(classes, multi_label)
    if multi_label:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    else:
        expected = torch.nn.functional.cross_entropy(logits, targets)
    assert ours.losses(logits, targets).mean() == pytest.approx(expected)
    assert ours.metrics(added(ours, (logits, targets)))["loss"] == pytest.approx(
        float(expected), abs=1 / LOSS_UNITS
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(st.sampled_from(KINDS), st.lists(st.integers(0, 60), max_size=5), st.integers(0, 100))
def test_sum_vectors_add_up_over_any_split(kind, cuts, seed):
    ours = task(*kind)
    logits, targets = rows(*kind, count=60, seed=seed)
    edges = [0, *sorted(cuts), 60]
    parts = [(logits[a:b], targets[a:b]) for a, b in pairwise(edges) if b > a]
    whole, split = added(ours, (logits, targets)), added(ours, *parts)
    for name in whole:
        # Each batch rounds its summed loss once.
        np.testing.assert_allclose(split[name], whole[name], atol=len(parts) if name == "loss" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_within_the_declared_bounds(kind):
    ours = task(*kind)
    counts = ours.count(*rows(*kind))
    for part in ours.sums():
        assert counts[part.name].shape == (part.length,)
        assert counts[part.name].dtype == np.int64
        assert 0 <= counts[part.name].min() <= counts[part.name].max() <= part.bound


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_a_broken_model_is_counted_as_a_bad_one(bad):
    ours = task(2)
    counts = ours.count(torch.tensor([[bad, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]))
    assert counts["rows"] == 2
    assert 0 < counts["loss"][0] <= 2 * MAX_LOSS * LOSS_UNITS
    assert counts["histogram"].sum() == 4


def test_nothing_counted_is_nan():
    ours = task(3)
    nothing = {part.name: np.zeros(part.length) for part in ours.sums()}
    assert all(math.isnan(value) for value in ours.metrics(nothing).values())


@pytest.mark.parametrize("kind", [(2, False), (3, False), (3, True)])
def test_one_class_has_no_auroc(kind):
    ours = task(*kind)
    logits, targets = rows(*kind)
    found = ours.metrics(added(ours, (logits, torch.zeros_like(targets))))
    assert math.isnan(found["auroc"])
    assert 0 <= found["accuracy"] <= 1


def test_labels_become_targets():
    assert [task(2).label(name) for name in ("none", "mild")] == [0, 1]
    ours = task(3, multi_label=True)
    assert ours.label("mild|none") == (1, 1, 0)
    assert ours.label("severe") == (0, 0, 1)
    assert ours.label("") == (0, 0, 0)


@pytest.mark.parametrize(
    ("multi_label", "label"), [(False, "worse"), (False, "none|mild"), (True, "none|worse")]
)
def test_an_unknown_label_is_told_with_those_there_are(multi_label, label):
    with pytest.raises(DataError, match=r"is not a label of the task\. Labels: none, mild, severe\."):
        task(3, multi_label).label(label)


def test_targets_become_tensors():
    assert task(3).target_tensor([2, 0]).tolist() == [2, 0]
    assert task(3).target_tensor([2, 0]).dtype == torch.int64
    assert task(2, True).target_tensor([(0, 1)]).dtype == torch.float32


def test_the_bias_of_classes_is_that_of_their_frequencies():
    shares = task(3).class_bias([0, 0, 0, 2]).exp()
    assert shares.tolist() == pytest.approx([4 / 7, 1 / 7, 2 / 7])
    odds = task(2, multi_label=True).class_bias([(1, 0), (1, 1), (0, 0)]).exp()
    assert odds.tolist() == pytest.approx([3 / 2, 2 / 3])
    assert task(2).class_bias([]).exp().tolist() == pytest.approx([1 / 2, 1 / 2])


def test_with_the_bias_added_frequencies_alone_are_nothing_to_learn():
    """Logits of zero are then the best that a model can do that sees no difference between the texts."""
    targets = [0] * 30 + [1] * 10
    ours, logits = task(2), torch.zeros(1, 2, requires_grad=True)
    rows = logits.expand(40, 2) + ours.class_bias(targets)
    ours.losses(rows, ours.target_tensor(targets)).mean().backward()
    assert logits.grad.abs().max() < 0.02


def test_predictions_name_labels_and_scores():
    logits = torch.tensor([[0.0, 2.0, 0.0], [5.0, 0.0, 0.0]])
    first, second = task(3).predictions(logits)
    assert (first["label"], second["label"]) == ("mild", "none")
    assert list(first["scores"]) == list(NAMES[:3])
    assert sum(first["scores"].values()) == pytest.approx(1)
    first, second = task(3, multi_label=True).predictions(logits - 1)
    assert (first["labels"], second["labels"]) == (["mild"], ["none"])
    assert sum(task(3, multi_label=True).predictions(logits)[0]["scores"].values()) > 1


def test_tasks_by_name():
    assert isinstance(load_task(TaskSettings(labels=("a", "b"))), Classification)
    with pytest.raises(PlanError, match=r"there is no task named 'nope'\. Known tasks: .*classification"):
        load_task(TaskSettings(name="nope", labels=("a", "b")))

"""Words, tags and entities: what is learnt from a row, and F1 against seqeval's on the same predictions."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.tags import SCHEMES, tag_names
from sealora.models.task import LOSS_UNITS, Record, UnusableRow, load_task
from sealora.models.token_classification import MAX_LOSS, TokenClassification
from sealora.models.word_tags import IGNORED
from sealora.protocol.errors import PlanError

TYPES = ("PER", "LOC")
STRICT = {"iob1": IOB1, "iob2": IOB2, "bioes": IOBES, "bmes": IOBES, "bilou": BILOU}
LENIENT = ("iob1", "iob2", "bioes", "bmes")
"""seqeval's lenient reading does not know the letters of BILOU."""


def task(scheme="iob2", **options):
    named = TaskSettings(
        name="token_classification", labels=TYPES, options={"scheme": scheme}, max_length=12, **options
    )
    return TokenClassification(named)


def batch(truth, decided, tags, seed=0):
    """(logits, targets) of rows whose words have these tags and get those; some tokens begin no word."""
    draw = np.random.default_rng(seed)
    width = 2 * max(map(len, truth)) + 2
    logits = draw.normal(size=(len(truth), width, tags))
    targets = np.full((len(truth), width), IGNORED)
    for row, (true, mine) in enumerate(zip(truth, decided, strict=True)):
        places = np.sort(draw.choice(width, len(true), replace=False))
        targets[row, places] = true
        logits[row, places, mine] = 9.0
    return torch.tensor(logits).float(), torch.tensor(targets)


def sentences(tags):
    """Pairs of true and predicted tags, not all of which a scheme allows."""
    pair = st.tuples(st.integers(0, tags - 1), st.integers(0, tags - 1)) | st.integers(0, tags - 1).map(
        lambda tag: (tag, tag)
    )
    return st.lists(st.lists(pair, min_size=1, max_size=8), min_size=1, max_size=5)


def spelled(scheme, rows):
    """Tags as seqeval knows them: it reads M as nothing."""
    names = tag_names(task(scheme).settings)
    return [[names[tag].replace("M-", "I-") for tag in row] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_scores_are_seqevals_on_the_same_predictions(scheme, data):
    ours = task(scheme)
    tags = len(tag_names(ours.settings))
    pairs = data.draw(sentences(tags))
    truth, decided = ([[pair[side] for pair in row] for row in pairs] for side in (0, 1))
    sums = {name: counts.astype(float) for name, counts in ours.count(*batch(truth, decided, tags)).items()}
    found, tables = ours.metrics(sums), ours.tables(sums)
    theirs = (spelled(scheme, truth), spelled(scheme, decided))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if scheme in LENIENT:
            for name in ("f1", "precision", "recall"):
                assert found[name] == pytest.approx(getattr(seqeval, f"{name}_score")(*theirs)), name
            assert_same_classes(tables["classes"], *theirs)
        strict = {"mode": "strict", "scheme": STRICT[scheme]}
        assert found["strict_f1"] == pytest.approx(seqeval.f1_score(*theirs, **strict))
        assert_same_classes(tables["strict_classes"], *theirs, **strict)
        assert found["accuracy"] == pytest.approx(seqeval.accuracy_score(*theirs))


def assert_same_classes(ours, truth, decided, **mode):
    if not seqeval.f1_score(truth, decided, average=None, **mode).size:
        return assert_nothing(ours)
    theirs = seqeval.classification_report(truth, decided, output_dict=True, zero_division=0, **mode)
    for name, row in ours.items():
        other = theirs.get(name, dict.fromkeys(("precision", "recall", "f1-score", "support"), 0))
        assert row["f1"] == pytest.approx(other["f1-score"])
        assert row["precision"] == pytest.approx(other["precision"])
        assert row["recall"] == pytest.approx(other["recall"])
        assert row["support"] == other["support"]
    return None


def assert_nothing(classes):
    assert all(value == 0 for row in classes.values() for value in row.values())


def test_the_task_is_known_by_its_name():
    assert isinstance(load_task(task("bmes").settings), TokenClassification)
    assert tag_names(task("bmes").settings)[:3] == ("O", "B-PER", "M-PER")


def test_the_loss_is_the_mean_over_rows_of_the_mean_over_words():
    logits, targets = batch([[0, 1, 2], [3]], [[0, 1, 1], [0]], 5)
    rows = [
        torch.nn.functional.cross_entropy(
            logits[row][targets[row] != IGNORED], targets[row][targets[row] != IGNORED]
        )
        for row in range(2)
    ]
    assert task().losses(logits, targets).tolist() == pytest.approx([float(loss) for loss in rows])
    sums = {name: counts.astype(float) for name, counts in task().count(logits, targets).items()}
    assert task().metrics(sums)["loss"] == pytest.approx(float(sum(rows)) / 2, abs=1 / LOSS_UNITS)


def test_what_begins_no_word_changes_nothing():
    ours = task()
    logits, targets = batch([[0, 1, 2], [3]], [[0, 1, 1], [0]], 5)
    other = torch.where((targets == IGNORED)[..., None], torch.randn_like(logits) * 50, logits)
    assert torch.equal(ours.losses(other, targets), ours.losses(logits, targets))
    first, second = ours.count(logits, targets), ours.count(other, targets)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_counts_add_up_within_their_bounds():
    ours = task("bioes")
    logits, targets = batch([[1, 3, 0, 5], [4, 4], [0]], [[1, 3, 4, 5], [4, 0], [8]], 9)
    whole = ours.count(logits, targets)
    parts = [ours.count(logits[row : row + 1], targets[row : row + 1]) for row in range(3)]
    for part in ours.sums():
        assert whole[part.name].shape == (part.length,)
        assert whole[part.name].dtype == np.int64
        assert 0 <= whole[part.name].min() <= whole[part.name].max() <= part.bound
        split = sum(counts[part.name] for counts in parts)
        # Each batch rounds its summed loss once.
        np.testing.assert_allclose(whole[part.name], split, atol=3 if part.name == "loss" else 0)
    assert whole["rows"] == 3
    assert whole["words"].tolist() == [7, 4]
    assert whole["entities"].tolist() == [3, 3, 2, 1, 2, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_a_broken_model_is_counted_as_a_bad_one(bad):
    logits, targets = batch([[1, 2]], [[1, 2]], 5)
    counts = task().count(torch.full_like(logits, bad), targets)
    assert counts["rows"] == 1
    assert 0 < counts["loss"][0] <= MAX_LOSS * LOSS_UNITS


@pytest.mark.parametrize("noise", [-7.0, 0.0])
def test_noised_sums_give_metrics_within_their_range_or_none(noise):
    ours = task()
    sums = {part.name: np.full(part.length, noise) for part in ours.sums()}
    assert all(math.isnan(value) for value in ours.metrics(sums).values())
    found = ours.metrics({**sums, "rows": np.ones(1), "words": np.array([5.0, -1.0])})
    assert set(found.values()) == {0.0}
    more = {**sums, "rows": np.ones(1), "words": np.array([1.0, 5.0]), "entities": np.array([1, 1, 9.0] * 2)}
    assert (ours.metrics(more)["accuracy"], ours.metrics(more)["f1"]) == (1.0, 1.0)


def test_tags_have_no_frequencies_to_calibrate_by():
    with pytest.raises(PlanError, match="label_calibration"):
        task().class_bias([])


def read(words, tags, **data):
    return task().reader(DataSettings(**data))({"tokens_column": words, "tags_column": tags})


def test_rows_are_words_and_tags_however_a_table_has_them():
    expected = Record(("Wolff", "ran", "home"), (1, 0, 3), "LOC|PER")
    assert read(["Wolff", "ran", "home"], ["B-PER", "O", "B-LOC"]) == expected
    assert read("Wolff ran  home", "B-PER O B-LOC") == expected
    numbers = {"1": "B-PER", "0": "O", "3": "B-LOC"}
    assert read(["Wolff", "ran", "home"], [1, 0, 3], label_map=numbers) == expected
    assert read(["Wolff"], ["MISC"], label_map={"MISC": "O"}).label == "no entity"


@pytest.mark.parametrize(
    ("words", "tags", "reason"),
    [
        (None, ["O"], "empty_text"),
        ([], [], "empty_text"),
        (["a", None], ["O", "O"], "empty_text"),
        (["a"], None, "missing_label"),
        (["a"], [], "missing_label"),
        (["a"], ["B-ORG"], "unknown_label"),
        (["a", "b"], ["O"], "bad_tags"),
        ("a b", "O O O", "bad_tags"),
    ],
)
def test_what_cannot_be_used_is_dropped_with_its_reason(words, tags, reason):
    with pytest.raises(UnusableRow) as unusable:
        read(words, tags)
    assert unusable.value.reason == reason


def test_a_tag_stands_at_the_first_token_of_its_word(tiny_tokenizer):
    """ "kinds" is two tokens to the tiny tokenizer, and every text is framed by two."""
    words = ("the", "kinds", "town")
    ((example, cut),) = task().encode([Record(words, (0, 1, 3))], tiny_tokenizer)
    assert tiny_tokenizer.convert_ids_to_tokens(example.tokens)[2:4] == ["kind", "##s"]
    assert example.target.tags == (IGNORED, 0, 1, IGNORED, 3, IGNORED)
    assert not cut


def test_a_long_row_is_cut_and_a_row_without_any_word_is_of_no_use(tiny_tokenizer):
    rows = [Record(("town",) * 11, (1,) * 11), Record((" ", "\t"), (0, 0))]
    (long, cut), (nothing, _) = task().encode(rows, tiny_tokenizer)
    assert cut
    assert long.target.tags == (IGNORED, *(1,) * 10, IGNORED)
    assert nothing is None


def test_predictions_are_entities_with_their_places_in_the_text(tiny_tokenizer):
    ours = task()
    text = "the kinds, a town"
    example = ours.prompt(text, tiny_tokenizer)
    # Tokens: [CLS] the kind ##s , a town [SEP]
    logits = torch.zeros(1, 8, 5)
    for place, tag in ((2, 1), (3, 3), (4, 2), (6, 4)):
        logits[0, place, tag] = 30.0

    class Model:
        def outputs(self, examples):
            assert examples == [example]
            return logits

    (prediction,) = ours.predict(Model(), [example])
    first, second = prediction["entities"]
    assert (first["type"], first["text"]) == ("PER", "kinds,")
    assert (second["type"], second["text"]) == ("LOC", "town")
    assert [text[found["start"] : found["end"]] for found in (first, second)] == ["kinds,", "town"]
    assert first["score"] == pytest.approx(1.0)
    assert ours.line(prediction) == "kinds, [PER], town [LOC]"
    assert ours.line({"entities": []}) == "(none)"
    assert "kinds" not in repr(example)

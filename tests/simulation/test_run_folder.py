"""The run folder: made once, read back equal, and told apart from other folders and formats."""

import json

import pytest

from sealora.plan.contract import resolved
from sealora.plan.loader import Plan
from sealora.protocol.errors import UsageError
from sealora.simulation.run_folder import BEGUN, FORMAT, RunFolder

HEAD = 'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n'
PLANS = {
    "small": "",
    "numbers": "training.learning_rate = 1e-5\ncodec.clip = 0.1\nseed = 9223372036854775807\n",
    "text": 'name = "Zürich \\"1\\" \\\\ 2"\ndata.label_map = { "0" = "a", "ja, so" = "b" }\n',
    "sites": 'simulation.partition = "natural"\nsimulation.partition_column = "ward"\n',
    "tuples": 'lora.target_modules = ["query", "value"]\n',
}


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_is_read_back_with_the_same_contract(tmp_path, case):
    plan = Plan.from_text(HEAD + PLANS[case])
    RunFolder.create(tmp_path / "run", plan, {"sealora": "0"})
    again = RunFolder.open(tmp_path / "run").plan
    assert resolved(again) == resolved(plan)
    assert again.hash == plan.hash


def test_a_new_folder(tmp_path):
    folder = RunFolder.create(tmp_path / "deep" / "run", Plan.from_text(HEAD), {"sealora": "1.2"})
    about = json.loads((folder.path / "run.json").read_text())
    assert about["format"] == FORMAT == 1
    assert about["versions"] == {"sealora": "1.2"}
    assert about["began"].endswith("+00:00")
    assert folder.adapter == folder.path / "adapter"


@pytest.mark.parametrize("name", sorted(BEGUN))
def test_a_folder_whose_run_never_began_is_taken(tmp_path, name):
    (tmp_path / name).write_text("half")
    assert RunFolder.create(tmp_path, Plan.from_text(HEAD), {}).plan.name == "run"


@pytest.mark.parametrize("name", ["run.json", "notes.txt", ".hidden", "state/progress.json"])
def test_a_folder_with_anything_else_is_not(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty\. Choose another --out, or add --resume"):
        RunFolder.create(tmp_path, Plan.from_text(HEAD), {})
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        RunFolder.create(tmp_path / "file", Plan.from_text(HEAD), {})
    with pytest.raises(UsageError, match="holds no run"):
        RunFolder.open(tmp_path / "file")


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", "null", '"format"'])
def test_what_holds_no_run(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match="holds no run"):
        RunFolder.open(tmp_path)


def test_another_format_is_told(tmp_path):
    (tmp_path / "run.json").write_text('{"format": 2}')
    with pytest.raises(UsageError, match="has run-folder format 2, this version reads 1"):
        RunFolder.open(tmp_path)


def test_a_result_that_is_not_there_yet(tmp_path):
    folder = RunFolder.create(tmp_path, Plan.from_text(HEAD), {})
    with pytest.raises(UsageError, match="is not finished"):
        _ = folder.result
    folder.write_json("result.json", {"x": 1})
    assert folder.result == {"x": 1}


@pytest.mark.parametrize(("name", "read"), [("result.json", "result"), ("plan.toml", "plan")])
def test_damage_is_one_line(tmp_path, name, read):
    folder = RunFolder.create(tmp_path, Plan.from_text(HEAD), {})
    for damage in (b"{", b"\xff\xfe"):
        (tmp_path / name).write_bytes(damage)
        with pytest.raises(UsageError, match=name) as caught:
            getattr(folder, read)
        assert "\n" not in str(caught.value)

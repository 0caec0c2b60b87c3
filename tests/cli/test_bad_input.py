"""Every row of docs/bad-input.md but those of partner sites, staged through the real entry point."""

import errno
import hashlib
import io
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sealora.server import store

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "bad-input.md"
TEXT = re.sub(r"(?ms)^## Partner sites$.*?(?=^## |\Z)", "", DOCUMENT.read_text("utf-8"))
ROW = re.compile(r"^\| (.+?) \| `{1,2}(.+?)`{1,2} \| (\d+) \|$", re.MULTILINE)
TABLE = {case: (message, int(code)) for case, message, code in ROW.findall(TEXT)}
STAGES = {}


def stage(case):
    """Registers a function that prepares a case and returns the arguments of the command."""

    def register(function):
        STAGES[case] = function
        return function

    return register


def pattern(message):
    return ".*".join(map(re.escape, message.split("…")))


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def scene(tiny, finished, tmp_path, monkeypatch):
    """What a stage works with; `plan` writes a plan that lacks nothing but what is edited."""

    class Scene:
        folder = tmp_path
        earlier = tmp_path / "earlier"
        patch = monkeypatch

        def simulate(self, *edits, options=(), out="out", **values):
            return ["simulate", tiny.plan(tmp_path, *edits, **values), "--out", tmp_path / out, *options]

        def table(self, *rows, columns="text,label"):
            path = tmp_path / "table.csv"
            path.write_text("\n".join([columns, *rows]) + "\n")
            return path

        def natural(self, *rows):
            """A simulation whose sites are the values of a third column."""
            edit = ("sites = 5", 'partition = "natural"\npartition_column = "ward"')
            return self.simulate(
                edit, data=self.table(*rows, columns="text,label,ward"), options=["--rounds", 1]
            )

        def model(self):
            shutil.copytree(tiny.model, tmp_path / "model")
            return tmp_path / "model"

    shutil.copytree(finished, Scene.earlier)
    return Scene()


def mixed(count, ward, text="film"):
    return [f"{text} {ward} {n},{('negative', 'positive')[n % 2]},{ward}" for n in range(count)]


def four_wards():
    return [row for ward in ("a", "b", "c", "d") for row in mixed(20, ward)]


@stage("a plan that is not there")
def _(scene):
    return ["simulate", scene.folder / "none.toml"]


@stage("a plan that is not TOML")
def _(scene):
    return scene.simulate(("schema = 1", "schema: 1"))


@stage("an unknown key")
def _(scene):
    return scene.simulate(("batch_size = 8", "epoch = 2"))


@stage("a plan with a character that nobody sees")
def _(scene):
    return scene.simulate(('name = "tiny"', 'name = "tiny\\u001b[2K"'))


@stage("an unknown strategy")
def _(scene):
    return scene.simulate(("[rounds]", '[strategy]\nname = "magic"\n\n[rounds]'))


@stage("an option out of range")
def _(scene):
    return scene.simulate(options=["--rounds", 0])


@stage("a data file that is not there")
def _(scene):
    return scene.simulate(data=scene.folder / "none.csv")


@stage("a column that is not there")
def _(scene):
    return scene.simulate(("[lora]", 'text_column = "texts"\n\n[lora]'))


@stage("a row that is no object")
def _(scene):
    (scene.folder / "table.jsonl").write_text("null\n")
    return scene.simulate(data=scene.folder / "table.jsonl")


@stage("a data file in the home folder of nobody")
def _(scene):
    return scene.simulate(data="~nobody-at-all/table.csv")


@stage("labels that the plan does not know")
def _(scene):
    return scene.simulate(('"negative", "positive"', '"good", "bad"'))


@stage("a site without a usable row")
def _(scene):
    return scene.natural(*four_wards(), *[",positive,empty"] * 20)


@stage("a Parquet file that is damaged")
def _(scene):
    (scene.folder / "table.parquet").write_bytes(b"PAR1" + bytes(100))
    return scene.simulate(data=scene.folder / "table.parquet")


@stage("fewer rows than the sites need")
def _(scene):
    return scene.simulate(("sites = 5", "sites = 50"))


@stage("rows without a label")
def _(scene):
    return scene.natural(*four_wards(), *mixed(20, "e"), *[f"story {n},NaN,e" for n in range(10)])


@stage("a site with one class")
def _(scene):
    return scene.natural(*four_wards(), *[f"story {n},positive,one" for n in range(20)])


@stage("a model that is not here, offline")
def _(scene):
    return scene.simulate(model="nobody/nothing")


@stage("a model folder that is not there")
def _(scene):
    return scene.simulate(model="./none")


@stage("a model folder with damaged weights")
def _(scene):
    path = scene.model() / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    return scene.simulate(model=path.parent)


@stage("a model folder without a tokenizer")
def _(scene):
    folder = scene.model()
    for path in folder.glob("*token*"):
        path.unlink()
    return scene.simulate(model=folder)


@stage("a layer to adapt that is not there")
def _(scene):
    return scene.simulate(("rank = 2", 'rank = 2\ntarget_modules = ["q_proj"]'))


@stage("texts longer than the model reads")
def _(scene):
    return scene.simulate(("max_length = 16", "max_length = 64"))


@stage("a folder that is not empty")
def _(scene):
    return scene.simulate(out="earlier")


@stage("a folder below a file")
def _(scene):
    return scene.simulate(out="earlier/result.json/deeper")


@stage("resumed with another plan")
def _(scene):
    return scene.simulate(out="earlier", options=["--resume", "--rounds", 7])


@stage("resumed from a damaged checkpoint")
def _(scene):
    shutil.copytree(scene.earlier, scene.folder / "out")
    (scene.folder / "out" / "state" / "progress.json").write_text('{"format": 1, "run')
    return scene.simulate(options=["--resume", "--rounds", 2])


@stage("training that diverges")
def _(scene):
    edit = ("learning_rate = 0.02", 'learning_rate = 1e30\noptimizer = "sgd"\nmax_gradient_norm = 0.0')
    return scene.simulate(edit)


@stage("a full disk")
def _(scene):
    real, left = store.write_durably, [1]

    def write(path, content):
        if path.name == "progress.json":
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, content)

    scene.patch.setattr(store, "write_durably", write)
    return scene.simulate()


@stage("predict in a folder without a run")
def _(scene):
    return ["predict", scene.folder / "nothing", "good film"]


@stage("predict before the run is finished")
def _(scene):
    shutil.copytree(scene.earlier, scene.folder / "unfinished")
    (scene.folder / "unfinished" / "result.json").unlink()
    return ["predict", scene.folder / "unfinished", "good film"]


@stage("predict what is not UTF-8")
def _(scene):
    scene.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))
    return ["predict", scene.earlier]


@stage("predict nothing")
def _(scene):
    scene.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n \n")))
    return ["predict", scene.earlier]


@stage("predict with an adapter that was changed")
def _(scene):
    copy = scene.folder / "copy"
    shutil.copytree(scene.earlier, copy)
    path = copy / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    return ["predict", copy, "good film"]


@stage("evaluate without the plan's columns")
def _(scene):
    table = scene.table("good film,positive", columns="note,diagnosis")
    return ["evaluate", scene.earlier, "--data", table]


@stage("a budget that pays for no round")
def _(scene):
    scene.simulate(("[lora]", "drop_duplicates = false\n\n[lora]"))
    (path,) = scene.folder.glob("*.toml")
    promise = 'guarantee = "record"\nepsilon = 2.0\ndelta = 1e-5\nsampling_rate = 0.5\nexpected_batch = 8\n'
    told = f'[privacy]\n{promise}noise_multiplier = 0.1\naccountant = "rdp"\n'
    path.write_text(f'{path.read_text()}\n[strategy]\nweighting = "uniform"\n\n{told}')
    return ["plan", "check", path]


@stage("a ledger that was cut to nothing")
def _(scene):
    (scene.folder / "site-01.jsonl").touch()
    return ["ledger", "show", scene.folder / "site-01.jsonl"]


@stage("audit what is not there")
def _(scene):
    return ["audit", scene.folder / "none"]


@stage("audit a folder without a run")
def _(scene):
    (scene.folder / "nothing").mkdir()
    return ["audit", scene.folder / "nothing"]


@stage("audit an ε that nobody claims")
def _(scene):
    return ["audit", scene.earlier, "--only", "canaries"]


@stage("audit membership in a plan")
def _(scene):
    return ["audit", scene.earlier / "plan.toml", "--only", "membership"]


@stage("audit a run whose table has changed")
def _(scene):
    shutil.copytree(scene.earlier, scene.folder / "copy")
    plan = scene.folder / "copy" / "plan.toml"
    named = next(line for line in plan.read_text().splitlines() if line.startswith("path = "))
    other = scene.table(*mixed(60, "a"), columns="text,label,ward")
    plan.write_text(plan.read_text().replace(named, f'path = "{other}"'))
    return ["audit", plan.parent, "--only", "membership"]


@stage("audit into a file that exists")
def _(scene):
    return ["audit", scene.earlier, "--out", scene.earlier / "result.json"]


OF_A_PROCESS = {"Ctrl-C"}
"""Cases that need a process of their own."""


def test_the_document_and_the_cases_agree():
    assert set(STAGES) | OF_A_PROCESS == set(TABLE)
    assert len(TABLE) > 25


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("case", STAGES)
def test_bad_input_is_one_clear_line(scene, command, case):
    message, code = TABLE[case]
    arguments = STAGES[case](scene)
    before = snapshot(scene.earlier)
    ended, out, err = command(*arguments)
    assert ended == code, err
    assert "Traceback" not in out + err
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    if code:
        assert len(errors) == 1
        assert re.fullmatch(pattern(message), errors[0]), errors[0]
        assert err.splitlines()[-1] == errors[0]
        assert out == ""
    else:
        assert errors == []
        assert re.search(pattern(message), err), err
    assert snapshot(scene.earlier) == before, "earlier results are intact"
    begun = (scene.folder / "out" / "state" / "progress.json").exists()
    assert ("Finished rounds are kept. Go on with: sealora simulate" in err) == (begun and code == 1)


def test_json_errors(scene, command):
    import json

    code, out, err = command(*scene.simulate(model="./none"), "--json")
    error = json.loads(out)["error"]
    assert (code, error["exit_code"], error["kind"]) == (2, 2, "ModelError")
    assert err.splitlines()[-1] == f"error: {error['message']}"


def test_after_a_full_disk_the_command_told_goes_on(scene, command):
    with pytest.MonkeyPatch.context() as patch:
        scene.patch = patch
        code, _, err = command(*STAGES["a full disk"](scene))
    assert code == 1
    assert "out" in err
    code, out, err = command(*told(err))
    assert code == 0, err
    assert "Adapter:" in out


def told(err):
    """The arguments of the command that an interrupted run tells to go on with."""
    (line,) = [line for line in err.splitlines() if "Go on with: " in line]
    return shlex.split(line.split("Go on with: ")[1])[1:]


def events(out):
    path = out / "events.jsonl"
    return path.read_text() if path.exists() else ""


def test_interruption(tiny, command, tmp_path):
    plan, out = tiny.plan(tmp_path, ("count = 3", "count = 12")), tmp_path / "out"
    # A background job ignores Ctrl-C and so would its children, tests included.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    words = [sys.executable, "-c", f"{heed}; from sealora.cli.main import main; main()"]
    words += ["simulate", str(plan), "--out", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and '"RoundDone"' not in events(out):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=300)
    finally:
        process.kill()
    message, code = TABLE["Ctrl-C"]
    assert (process.returncode, printed) == (code, ""), err
    assert "Traceback" not in err
    assert err.splitlines()[-1] == message
    finished = (out / "metrics.jsonl").read_text()
    assert 1 <= finished.count("\n") < 12
    code, _, err = command(*told(err))
    assert code == 0, err
    assert (out / "metrics.jsonl").read_text().startswith(finished)
    assert (out / "metrics.jsonl").read_text().count("\n") == 13

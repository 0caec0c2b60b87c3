"""Whole simulated runs on a tiny model: repeatable, resumable, and complete in what they leave."""

import io
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import sealora
from sealora.protocol.errors import DataError, PlanError, UsageError
from sealora.server.store import CheckpointStore
from sealora.simulation.faults import Faults

pytestmark = pytest.mark.slow

FILES = {
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "events.jsonl",
    "learning_curve.png",
    "metrics.jsonl",
    "plan.toml",
    "result.json",
    "run.json",
    "split.png",
    "state/attempt.json",
    "state/heads.jsonl",
    "state/progress.json",
    "state/round-000003.safetensors",
}
"""What a finished run leaves, besides TensorBoard's files."""


def rounds_in(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [line.get("round", "final") for line in lines]


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A finished run's folder and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    console = Console(file=io.StringIO(), width=120)
    sealora.simulate(tiny.plan(folder), folder / "run", console=console)
    return folder / "run", console.file.getvalue()


@pytest.fixture(scope="module")
def sha256(finished):
    return sealora.Run.load(finished[0]).result["adapter_sha256"]


def test_what_a_run_leaves(finished):
    folder, printed = finished
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in files if not name.startswith("tensorboard/")} == FILES
    for name in ("learning_curve.png", "split.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert (folder / name).stat().st_size > 3000
    assert rounds_in(folder) == [1, 2, 3, "final"]
    assert "Round 3/3" in printed
    assert "site-05" in printed


def structure(value):
    """The keys of a JSON value, with the kinds of its leaves; maps by names of sites or classes show one."""
    if isinstance(value, dict):
        free = set(value) <= {"site-01", "site-02", "site-03", "site-04", "site-05", "negative", "positive"}
        items = list(value.items())[:1] if free and value else value.items()
        return {("*" if free else key): structure(item) for key, item in items}
    if isinstance(value, list):
        return [structure(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def test_the_keys_of_a_result_are_a_promise(tiny, tmp_path):
    run = sealora.simulate(tiny.plan(tmp_path), tmp_path / "run", rounds=1, compare=True)
    frozen = json.loads((Path(__file__).parent / "fixtures" / "result_keys.json").read_text())
    found = structure(run.result)
    # Versions are facts about the machine; rows dropped by reason depend on the data.
    assert {key: found[key] for key in frozen} == frozen
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == run.result


def test_the_same_plan_gives_the_same_adapter(tiny, tmp_path, sha256):
    again = sealora.simulate(tiny.plan(tmp_path), tmp_path / "again")
    assert again.result["adapter_sha256"] == sha256
    other = sealora.simulate(tiny.plan(tmp_path), tmp_path / "other", seed=1)
    assert other.result["adapter_sha256"] != sha256
    assert other.plan.seed == 1


def test_plain_and_secure_sums_give_the_same_adapter(tiny, tmp_path, sha256):
    plan = tiny.plan(tmp_path, ("[simulation]", "[secure_aggregation]\nenabled = false\n\n[simulation]"))
    assert sealora.simulate(plan, tmp_path / "run").result["adapter_sha256"] == sha256


class Interrupted:
    """Stops a run when the checkpoint of a round is on disk."""

    def __init__(self, monkeypatch, number):
        self.save, self.number = CheckpointStore.save, number
        monkeypatch.setattr(CheckpointStore, "save", lambda *given: self.stop(*given))

    def stop(self, store, checkpoint):
        self.save(store, checkpoint)
        if checkpoint.round == self.number:
            raise KeyboardInterrupt


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_run_goes_on_after_an_interruption(tiny, tmp_path, sha256, monkeypatch, number):
    plan, out = tiny.plan(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        Interrupted(patch, number)
        with pytest.raises(KeyboardInterrupt):
            sealora.simulate(plan, out)
    with pytest.raises(UsageError, match="is not finished"):
        sealora.Run.load(out)
    run = sealora.simulate(plan, out, resume=True)
    assert run.result["adapter_sha256"] == sha256
    assert rounds_in(out) == [1, 2, 3, "final"]


def test_faults_are_the_same_after_an_interruption(tiny, tmp_path, monkeypatch):
    plan = tiny.plan(tmp_path, ("sites = 5", "sites = 8\ndropout_rate = 0.1"))
    whole = sealora.simulate(plan, tmp_path / "whole")
    assert any(len(record["contributors"]) < 8 for record in history(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        Interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            sealora.simulate(plan, tmp_path / "run")
    resumed = sealora.simulate(plan, tmp_path / "run", resume=True)
    assert resumed.result["adapter_sha256"] == whole.result["adapter_sha256"]


def history(folder):
    return json.loads((folder / "state" / "progress.json").read_text())["history"]


def test_a_round_that_fails_keeps_those_before(tiny, tmp_path, sha256, monkeypatch):
    def all_lost(self, site, round_number, attempt):
        from sealora.simulation.faults import Fault

        return Fault(0) if round_number == 2 else None

    plan, out = tiny.plan(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Faults, "of", all_lost)
        with pytest.raises(sealora.SealoraError, match="round 2 found no quorum in 3 attempts"):
            sealora.simulate(plan, out)
    assert rounds_in(out) == [1]
    assert sealora.simulate(plan, out, resume=True).result["adapter_sha256"] == sha256


def test_resuming_a_finished_run_changes_nothing(tiny, tmp_path):
    plan, out = tiny.plan(tmp_path), tmp_path / "run"
    first = sealora.simulate(plan, out, rounds=1).result
    again = sealora.simulate(plan, out, rounds=1, resume=True).result
    for measured in ("peak_rss_bytes", "seconds_per_round"):
        first.pop(measured), again.pop(measured)
    assert again == first


def test_resuming_what_never_began_begins_it(tiny, tmp_path):
    assert sealora.simulate(tiny.plan(tmp_path), tmp_path / "new", rounds=1, resume=True).result["metrics"]
    # Killed while the folder was made: there is no run in it yet.
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "plan.toml").write_text("schema")
    assert sealora.simulate(tiny.plan(tmp_path), tmp_path / "begun", rounds=1, resume=True).result["metrics"]


@pytest.mark.parametrize(
    ("edit", "options", "sections"),
    [
        (("rank = 2", "rank = 3"), {}, "lora"),
        (("sites = 5", "sites = 6"), {}, "simulation"),
        (("max_length = 16", "max_length = 15"), {"seed": 5}, "seed, task"),
        (("count = 3", "count = 3"), {"rounds": 2}, "rounds"),
    ],
)
def test_a_run_is_not_resumed_with_another_plan(tiny, tmp_path, finished, edit, options, sections):
    before = (finished[0] / "result.json").read_bytes()
    with pytest.raises(UsageError, match=f"is of another plan: it differs in {sections}"):
        sealora.simulate(tiny.plan(tmp_path, edit), finished[0], resume=True, **options)
    assert (finished[0] / "result.json").read_bytes() == before


def test_what_is_there_is_not_overwritten(tiny, tmp_path, finished):
    before = {path: path.read_bytes() for path in finished[0].rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="is not empty"):
        sealora.simulate(tiny.plan(tmp_path), finished[0])
    assert {path: path.read_bytes() for path in finished[0].rglob("*") if path.is_file()} == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        sealora.simulate(tiny.plan(tmp_path), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def table(folder, rows, *columns):
    path = folder / "table.csv"
    path.write_text("\n".join([",".join(["text", "label", *columns]), *rows]) + "\n")
    return path


def test_what_was_left_out_and_odd_sites_are_told(tiny, tmp_path):
    """A site of one class, labels that are missing, and names that look like markup."""
    rows = [f"good film {number},positive,[/bold]" for number in range(20)]
    rows += [f"bad film {number},{'negative' if number % 2 else 'positive'},[x]" for number in range(20)]
    rows += [f"dull film {number},{'negative' if number % 2 else 'positive'},Süd" for number in range(40)]
    rows += [f"story {number},{'positive' if number % 3 else 'nan'},four" for number in range(30)]
    rows += [f"town {number},{'negative' if number % 2 else 'who knows'},five" for number in range(30)]
    natural = 'partition = "natural"\npartition_column = "ward"'
    plan = tiny.plan(tmp_path, ("sites = 5", natural), data=table(tmp_path, rows, "ward"))
    console = Console(file=io.StringIO(), width=200)
    run = sealora.simulate(plan, tmp_path / "run", rounds=1, console=console)
    printed = console.file.getvalue()
    assert "all rows have the label 'positive'; the site still takes part." in printed
    assert "Rows left out: 10 missing label, 15 unknown label." in printed
    assert set(run.result["sites"]) == {"bold", "x", "Süd", "four", "five"}
    assert run.result["sites"]["four"]["cleaning"]["dropped"] == {"missing_label": 10}
    assert run.result["sites"]["bold"]["metrics"]["auroc"] is None


def test_an_empty_site_stops_the_run_before_it_starts(tiny, tmp_path):
    rows = [f"good film {number},{'negative' if number % 2 else 'positive'},full" for number in range(20)]
    rows += [",positive,empty"] * 20
    natural = 'partition = "natural"\npartition_column = "ward"'
    plan = tiny.plan(tmp_path, ("sites = 5", natural), data=table(tmp_path, rows, "ward"))
    with pytest.raises(DataError) as caught:
        sealora.simulate(plan, tmp_path / "run")
    assert str(caught.value).startswith("empty: none of 20 rows can be used (empty text: 20).")


def test_a_cohort_larger_than_the_simulation_is_refused(tiny, tmp_path):
    plan = tiny.plan(tmp_path, ("[simulation]\nsites = 5", "[cohort]\nsize = 10"))
    with pytest.raises(PlanError, match=r"cohort\.size is 10, but only 8 sites are simulated"):
        sealora.simulate(plan, tmp_path / "run")


def test_sites_drawn_for_a_round_and_all_of_them_measured(tiny, tmp_path):
    plan = tiny.plan(tmp_path, ("[simulation]", "[cohort]\nsize = 4\n\n[simulation]"))
    run = sealora.simulate(plan, tmp_path / "run", rounds=1)
    assert [len(record["cohort"]) for record in history(tmp_path / "run")] == [4]
    assert all(site["metrics"]["accuracy"] is not None for site in run.result["sites"].values())
    support = run.result["tables"]["classes"]
    assert sum(row["support"] for row in support.values()) == sum(
        site["test_rows"] for site in run.result["sites"].values()
    )


# --- killed by the system ---


def kill(plan, out, marker, delay):
    """Run a plan in a process of its own, and kill it `delay` seconds after `marker` is in its folder."""
    words = [sys.executable, "-c", "from sealora.cli.main import main; main()"]
    words += ["simulate", str(plan), "--out", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and not (out / marker).exists():
            time.sleep(0.01)
        process.wait(delay)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        complaint = process.communicate()[1]
    assert process.returncode in (0, -signal.SIGKILL), complaint


def survives(tiny, folder, rounds, seed, kills):
    """A run that is killed at a random moment and resumed has the adapter of one that was not."""
    print(f"rounds {rounds}, seed {seed}")
    plan, draw = tiny.plan(folder, ("count = 3", f"count = {rounds}")), random.Random(seed)
    sealora.simulate(plan, folder / "warm")
    started = time.monotonic()
    whole = sealora.simulate(plan, folder / "whole").result["adapter_sha256"]
    lasts = time.monotonic() - started
    for number in range(kills):
        out, marker = folder / f"killed-{number}", draw.choice(["run.json", "events.jsonl", "events.jsonl"])
        delay = draw.uniform(0, lasts)
        kill(plan, out, marker, delay)
        resumed = sealora.simulate(plan, out, resume=True)
        assert resumed.result["adapter_sha256"] == whole, f"killed {delay:.3f} s after {marker}"
        assert rounds_in(out) == [*range(1, rounds + 1), "final"]


def test_killed_and_resumed(tiny, tmp_path):
    survives(tiny, tmp_path, rounds=3, seed=1, kills=2)


@pytest.mark.soak
@pytest.mark.parametrize("rounds", [1, 2, 3, 4])
def test_killed_and_resumed_often(tiny, tmp_path, rounds):
    survives(tiny, tmp_path, rounds, seed=random.randrange(10**6), kills=5)

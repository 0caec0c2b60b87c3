"""`sealora compare`: what it prints, its exit codes, and how it goes on."""

import json

import pytest

from sealora.protocol.errors import RunError
from sealora.simulation import strategy_comparison

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Commands share the runs in it: what is finished is not run again."""
    return tmp_path_factory.mktemp("comparison")


def compare(command, tiny, folder, *arguments):
    plan = tiny.plan(folder)
    common = ("--out", folder / "out", "--rounds", 1, "--rows", 60, "--seeds", 2)
    return command("compare", plan, *common, *arguments)


def test_it_prints_the_table_and_where_it_is(command, tiny, folder):
    code, out, err = compare(command, tiny, folder, "--strategy", "fedavg,ffa,scaffold")
    assert code == 0, err
    assert "vs fedavg" in out
    assert "scaffold is refused: training.optimizer: scaffold takes" in out
    assert str(folder / "out" / "strategies.csv") in out
    assert "1/4  fedavg  seed 0: accuracy 0." in err
    assert (folder / "out" / "comparison.png").stat().st_size > 1000


def test_json_of_a_finished_comparison_runs_nothing(command, tiny, folder, monkeypatch):
    compare(command, tiny, folder, "--strategy", "fedavg")
    monkeypatch.setattr(strategy_comparison, "simulate", None)
    code, out, err = compare(command, tiny, folder, "--strategy", "fedavg", "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["strategies"]
    assert (row["strategy"], row["metric"]["seeds"]) == ("fedavg", 2)


def test_a_failed_run_is_exit_code_1(command, tiny, folder, monkeypatch):
    def fail(plan, out, **_):
        raise RunError("it diverged.")

    monkeypatch.setattr(strategy_comparison, "simulate", fail)
    code, out, _ = compare(command, tiny, folder, "--strategy", "rolora")
    assert code == 1
    assert "rolora failed with seed 1: it diverged." in out


def test_an_interruption_says_how_to_go_on(command, tiny, folder, monkeypatch):
    def interrupt(plan, out, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(strategy_comparison, "simulate", interrupt)
    code, _, err = compare(command, tiny, folder, "--strategy", "fedprox")
    assert code == 130
    assert "Finished runs are kept. Go on with the same command." in err


def test_an_unknown_strategy_starts_nothing(command, tiny, folder):
    code, out, err = command(
        "compare", tiny.plan(folder), "--strategy", "fedavg,nope", "--out", folder / "none"
    )
    assert (code, out) == (2, "")
    assert "there is no strategy named 'nope'. Known strategies: fed_sb, fedadagrad" in err
    assert not (folder / "none").exists()

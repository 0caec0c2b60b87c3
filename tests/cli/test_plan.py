"""`sealora plan` as a user meets it: files, text, JSON and exit codes."""

import json

import pytest

from sealora.cli.errors import guard
from sealora.cli.main import load_command
from sealora.models.adapter import AdapterLayout, TensorSpec
from sealora.models.assets import ASSETS, find
from sealora.plan import forecast
from sealora.plan.loader import load

GOOD = 'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\nsimulation.dirichlet_alpha = 0.1\n'

MINILM = next(asset for asset in ASSETS if asset.name == "minilm")


@pytest.fixture
def plan(capsys):
    """Runs `sealora plan` with arguments; returns exit code, standard output and standard error."""

    def run(*arguments):
        command = load_command("plan")
        words = [str(argument) for argument in arguments]
        code = guard(lambda: command.main(words, "sealora plan", standalone_mode=False), words)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def small_model(monkeypatch):
    """A model of known size instead of one that would have to be installed."""
    layout = AdapterLayout((TensorSpec("a", (8, 100), "A"), TensorSpec("b", (200,))), rank=8)
    monkeypatch.setattr(forecast, "describe", lambda *_: layout)
    monkeypatch.setattr(forecast, "count_parameters", lambda _: 12_345_678)
    monkeypatch.setattr(forecast, "measure_flops", lambda _: 2e9)


def test_new_writes_a_plan_that_loads(plan, tmp_path):
    path = tmp_path / "p.toml"
    code, out, err = plan("new", path)
    assert (code, err) == (0, "")
    assert f"sealora plan check {path}" in out
    assert load(path).warnings == ()


def test_new_takes_a_model(plan, tmp_path):
    assert plan("new", tmp_path / "p.toml", "--model", "org/model")[0] == 0
    assert load(tmp_path / "p.toml").model.name == "org/model"


def test_new_never_overwrites_unasked(plan, good):
    code, _, err = plan("new", good)
    assert (code, err) == (2, f"error: {good} exists. Name another file, or overwrite it with --force.\n")
    assert good.read_text() == GOOD
    assert plan("new", good, "--force")[0] == 0
    assert good.read_text() != GOOD


def test_new_refuses_unknown_tasks_and_folders(plan, tmp_path):
    code, _, err = plan("new", tmp_path / "p.toml", "--task", "clasification")
    assert code == 2
    assert "Did you mean 'classification'?" in err
    assert not (tmp_path / "p.toml").exists()
    assert plan("new", tmp_path / "none" / "p.toml")[0] == 2
    assert plan("new", tmp_path, "--force")[0] == 2


def test_check_says_what_the_plan_costs(plan, good, small_model):
    code, out, err = plan("check", good)
    assert (code, err) == (0, "")
    assert load(good).hash in out
    assert "1,000 trained, 1,000 sent; 12,345,678 in the base's layers" in out
    assert "words, " in out
    assert "for 3 rounds of 8 sites" in out
    assert "assumes 1,000 rows of 128 tokens at a site, at 50% of 2 GFLOP/s" in out
    assert f"warning: {good}:4: simulation.dirichlet_alpha: has no effect" in out


def test_a_plan_without_masks_is_told_in_red(plan, tmp_path, small_model, monkeypatch):
    path = tmp_path / "plain.toml"
    path.write_text(GOOD + "secure_aggregation.enabled = false\n")
    line = "  masks       none: the coordinator sees the update of every site"
    assert line in plan("check", path)[1].splitlines()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert f"\x1b[1;31m{line}\x1b[0m" in plan("check", path)[1]


def test_check_as_json(plan, good, small_model):
    code, out, _ = plan("check", "--json", good)
    found = json.loads(out)
    assert code == 0
    assert found["hash"] == load(good).hash
    assert found["warnings"] == list(load(good).warnings)
    assert found["forecast"]["bytes_up"] == 8 * found["forecast"]["words"]


@pytest.mark.skipif(find(MINILM) is None, reason="bundled:minilm is not installed")
def test_check_of_a_bundled_model(plan, tmp_path):
    plan("new", tmp_path / "p.toml")
    code, out, err = plan("check", tmp_path / "p.toml")
    assert (code, err) == (0, "")
    assert "74,498 trained, 74,498 sent; 10,795,392 in the base's layers" in out


def test_a_bad_plan_is_told_line_by_line(plan, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(GOOD + "seed = -1\nfoo = 1\n")
    code, out, err = plan("check", path)
    assert (code, out) == (2, "")
    assert [line.split(": ")[:3] for line in err.splitlines()] == [
        ["error", f"{path}:5", "seed"],
        ["error", f"{path}:6", "foo"],
    ]


def test_a_bad_plan_as_json(plan, tmp_path):
    code, out, err = plan("show", tmp_path / "none.toml", "--json")
    assert code == 2
    assert json.loads(out)["error"]["kind"] == "PlanError"
    assert err.startswith("error: ")


def test_show_prints_the_resolved_plan(plan, good, tmp_path):
    code, out, _ = plan("show", good)
    assert code == 0
    assert out.startswith(f"# contract {load(good).hash} ")
    (tmp_path / "again.toml").write_text(out)
    again = load(tmp_path / "again.toml")
    assert again.hash == load(good).hash
    assert again.simulation.dirichlet_alpha == 0.1


def test_show_as_json_and_the_hash_alone(plan, good):
    assert plan("show", good, "--hash")[1] == load(good).hash + "\n"
    assert json.loads(plan("show", good, "--hash", "--json")[1]) == {"hash": load(good).hash}
    assert json.loads(plan("show", good, "--json")[1])["plan"]["training"]["epochs"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            "",
            "1 sketched with width 81 (exact: 72 suffice); 248,832 values sent for them, 15.2 times A and B",
        ),
        ("width = 16\nlossy = true", "1 sketched with width 16 (LOSSY: 72 would be exact, and each round"),
        ('exchange = "dense"', "1 sent as they are, without loss; 1,048,576 values sent for them, 64 times"),
    ],
)
def test_check_tells_how_products_travel_and_what_they_disclose(
    plan, tmp_path, small_model, monkeypatch, options, words
):
    shapes = {"A": (8, 1024), "B": (1024, 8)}
    specs = tuple(TensorSpec(f"l.lora_{role}", shape, role, "l") for role, shape in shapes.items())
    monkeypatch.setattr(forecast, "describe", lambda *_: AdapterLayout(specs, rank=8))
    path = tmp_path / "p.toml"
    path.write_text(f'{GOOD}strategy.name = "flexlora"\n[strategy.options]\n{options}\n')
    code, out, _ = plan("check", path)
    assert code == 0
    assert words in out
    assert "which tells more than the means of A and B" in out

"""What the documents say: links lead somewhere, commands exist, and scripts run."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from sealora.cli.main import COMMANDS, load_command
from sealora.models.settings import DataSettings

ROOT = Path(__file__).parents[2]
GUIDES = [
    "README.md",
    "docs/architecture.md",
    "docs/run-folder.md",
    "docs/strategies-interface.md",
    "docs/audit.md",
    "docs/named-entities.md",
    "docs/preferences.md",
]
GUIDES += [
    "docs/tasks.md",
    "docs/language-models.md",
    *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*/README.md")),
]
LONGEST_RECORD = 25


def parse(command: click.Command, arguments: list[str]) -> None:
    """Raises click.UsageError unless the command takes these arguments; nothing is run."""
    if isinstance(command, click.Group):
        parse(command.commands[arguments[0]], arguments[1:])
    else:
        command.make_context(command.name, arguments)


@pytest.mark.parametrize("name", GUIDES)
def test_links_lead_somewhere(name) -> None:
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        assert ((ROOT / name).parent / path).exists(), target
        headings = [
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()) for line in text.splitlines() if line[:1] == "#"
        ]
        assert path or anchor in [heading.replace(" ", "-") for heading in headings], target


@pytest.mark.parametrize("name", GUIDES)
def test_commands_in_shell_blocks_are_understood(name, blocks) -> None:
    lines = [line for block in blocks(name, "sh") for line in block.replace("\\\n", "").splitlines()]
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program in ("sealora", "make", "pip", "python", "export", "flwr", "pkill"), line
        if program == "python":
            assert (ROOT / arguments[0]).is_file(), line
        if program == "flwr":
            assert (ROOT / arguments[1] / "pyproject.toml").is_file(), line
        if program == "sealora":
            parse(load_command(arguments[0]), arguments[1:])


@pytest.mark.parametrize("name", GUIDES)
def test_commands_in_sentences_exist(name) -> None:
    text = (ROOT / name).read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"`sealora ([a-z]+)", text)) <= COMMANDS.keys()
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(load_command("simulate"), ["plan.toml", "--output", "runs/first"])


def test_the_data_section_of_the_readme_has_keys_of_a_plan(blocks) -> None:
    (block,) = blocks("README.md", "toml")
    assert DataSettings.model_validate(tomllib.loads(block)["data"]).path == "reports.csv"


def test_every_folder_with_code_is_in_both_tables() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    for name in ("README.md", "docs/architecture.md"):
        text = (ROOT / name).read_text("utf-8")
        assert {folder for folder in folders if f"`{folder}/`" not in text} == set(), name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "decisions").glob("001*.md")), ids=lambda path: path.stem
)
def test_a_decision_is_short_and_bears_its_number(path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= LONGEST_RECORD
    assert lines[0].startswith(f"# {path.stem[:4]} ")


@pytest.mark.slow
def test_the_python_api_of_the_readme_runs(workplace, monkeypatch, blocks, capsys) -> None:
    (script,) = (block for block in blocks("README.md", "python") if "sealora.simulate(" in block)
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    exec(compile(script, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert names["again"].result["adapter_sha256"] in printed
    assert "'accuracy'" in printed
    assert "'label'" in printed


@pytest.mark.slow
def test_the_adapter_gives_the_same_scores_in_plain_transformers(workplace, monkeypatch, blocks) -> None:
    import sealora

    (script,) = (block for block in blocks("README.md", "python") if "PeftModel" in block)
    assert "sealora" not in script
    monkeypatch.chdir(workplace)
    names: dict[str, object] = {}
    exec(compile(script, "README.md", "exec"), names)
    expected = sealora.Run.load(workplace / "runs" / "first").predict(names["texts"])
    for row, prediction in zip(names["scores"].tolist(), expected, strict=True):
        assert row == pytest.approx(list(prediction["scores"].values()), abs=1e-5)


@pytest.mark.slow
def test_the_run_folder_is_described_file_by_file_and_key_by_key(workplace) -> None:
    run = workplace / "runs" / "first"
    text = (ROOT / "docs" / "run-folder.md").read_text("utf-8")
    named = set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`]+)`", text))))
    words = {part for name in named for part in (name, *name.split("."))}
    result = json.loads((run / "result.json").read_text("utf-8"))
    (site, *_) = result["sites"].values()
    nested = [result, result["tables"], result["bytes"], result["comparison"], site, site["cleaning"]]
    nested += [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in (run / "events.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        assert event["event"] in words
        nested.append(event)
    assert {key for mapping in nested for key in mapping} - words == set()
    assert {path.name for path in run.iterdir()} - words == set()


@pytest.mark.slow
def test_the_task_of_the_guide_is_a_task(plug_in) -> None:
    import torch

    from sealora.models.settings import TaskSettings
    from sealora.models.task import load_task
    from sealora.protocol.errors import PlanError

    module = plug_in("docs/tasks.md")
    task = load_task(TaskSettings(name="stars", labels=("one", "two", "three")))
    assert isinstance(task, module.Stars)
    logits = torch.eye(3)[[0, 2, 2, 1]]
    counts = task.count(logits, task.target_tensor([0, 2, 0, 2]))
    specs = {spec.name: spec for spec in task.sums()}
    assert {name: values.shape for name, values in counts.items()} == {
        name: (spec.length,) for name, spec in specs.items()
    }
    assert all(int(values.max()) <= specs[name].bound for name, values in counts.items())
    assert (
        task.metrics({name: values.astype(float) for name, values in counts.items()})["mean_distance"] == 0.75
    )
    with pytest.raises(PlanError):
        module.Stars(TaskSettings(labels=("one", "two"), multi_label=True))


def test_the_strategy_of_the_guide_bounds_a_step(plug_in) -> None:
    import numpy as np

    from sealora.models.adapter import Adapter, AdapterLayout, TensorSpec
    from sealora.strategies.registry import load_strategy
    from sealora.strategies.settings import StrategySettings
    from sealora.strategies.strategy import Aggregate, Context

    module = plug_in("docs/strategies-interface.md")
    strategy = load_strategy(StrategySettings(name="bounded", options={"largest_step": 2}))
    assert isinstance(strategy, module.Bounded)
    layout = AdapterLayout((TensorSpec("a", (1,)), TensorSpec("b", (1, 3))), 1)
    zeros = {spec.name: np.zeros(spec.shape, np.float32) for spec in layout.specs}
    context = Context(layout, 1, 3, 0)
    for mean, expected in ((0.5, 0.5), (1.0, 1.0), (8.0, 1.0)):  # four values of 1 have norm 2
        aggregate = Aggregate({"update": np.full(4, 2 * mean)}, 2.0, 3, 3)
        state = strategy.step(strategy.init(Adapter(layout, zeros)), context, aggregate)
        model = strategy.model(state, layout)
        assert np.allclose(np.concatenate([tensor.ravel() for tensor in model.tensors.values()]), expected)


def test_the_guide_shows_the_example_package(blocks) -> None:
    (shown,) = blocks("docs/strategies-interface.md", "python")
    package = (ROOT / "examples" / "plugin-strategy" / "sealora_bounded.py").read_text("utf-8")
    without = [line for line in package.splitlines() if not line.strip().startswith('"""W ←')]
    assert "\n".join(without[2:]).strip() == shown.strip()

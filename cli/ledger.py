"""`sealora ledger`: read, verify and export the privacy ledgers of sites."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealora.cli.logs import show_verified, verified
from sealora.privacy.chain import read_chain
from sealora.privacy.ledger import FORMAT, LEDGER, Charge, read_charges
from sealora.protocol.errors import UsageError

if TYPE_CHECKING:
    from sealora.privacy.events import Accountant

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Read, verify and export privacy ledgers.")

LedgerPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="A ledger file, a folder of ledgers, or a run folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    path: LedgerPath,
    delta: Annotated[float, typer.Option(min=1e-12, max=0.5, help="δ at which ε is computed.")] = 1e-5,
    accountant: Annotated[str, typer.Option(help="pld or rdp.")] = "pld",
    as_json: AsJson = False,
) -> None:
    """Print what each ledger was charged with, and the ε of each run and of all together."""
    # Imported here because the accountants take a second to load.
    from sealora.privacy.accountants import ACCOUNTANTS

    if accountant not in ACCOUNTANTS:
        raise UsageError(f"there is no accountant {accountant!r}.", f"Known: {', '.join(ACCOUNTANTS)}.")
    chosen = ACCOUNTANTS[accountant]("add-remove")
    rows = [_row(file, read_charges(file), chosen, delta) for file in _files(path)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        spent = f"ε = {row['epsilon']:.4g} at δ = {delta:g}"
        print(f"{row['ledger']}: {spent} for each {row['unit']}, {row['charges']} charges{row['last']}")
        for run, own in row["runs"].items() if len(row["runs"]) > 1 else ():
            print(f"  run {run}: ε = {own['epsilon']:.4g} by itself, {own['charges']} charges")


@app.command()
def verify(path: LedgerPath, as_json: AsJson = False) -> None:
    """Check every link of each ledger, and print its head.

    A file cut back to an earlier line verifies: compare its head with one that was noted before, such as
    those that the coordinator kept in state/heads.jsonl.
    """
    rows = []
    for file in _files(path):
        read_charges(file)
        rows.append({**verified(file, LEDGER), "ledger": file.stem})
    show_verified(rows, as_json)


@app.command()
def export(path: LedgerPath) -> None:
    """Print ledgers as JSON for an auditor: data set, unit, head and every charge."""
    print(json.dumps([_exported(file) for file in _files(path)], indent=2))


def _row(file: Path, charges: list[Charge], accountant: "Accountant", delta: float) -> dict[str, Any]:
    """What a ledger comes to. Losses of its runs add up by less than ε does, so all are composed anew."""

    def spent(own: list[Charge]) -> dict[str, Any]:
        return {"charges": len(own), "epsilon": accountant.epsilon([c.event for c in own], delta)}

    by_run: dict[str, list[Charge]] = {}
    for charge in charges:
        by_run.setdefault(charge.key.run, []).append(charge)
    header = next((entry for entry, _ in read_chain(file, LEDGER)), {})
    return {
        "ledger": file.stem,
        "unit": header.get("unit", "record"),
        "last": _last(charges),
        "delta": delta,
        **spent(charges),
        "runs": {run: spent(own) for run, own in by_run.items()},
    }


def _exported(file: Path) -> dict[str, object]:
    lines = list(read_chain(file, LEDGER))
    header: dict[str, object] = lines[0][0] if lines else {"format": FORMAT}
    charges = [charge.entry() for charge in read_charges(file)]
    return {**header, "head": lines[-1][1].hex() if lines else "", "charges": charges}


def _files(path: Path) -> list[Path]:
    """The ledger itself, those of a run folder, or those of a folder. Raises UsageError if there is none."""
    if path.is_file():
        return [path]
    own = path / "state" / "ledgers"
    files = sorted((path if not own.exists() and not (path / "run.json").exists() else own).glob("*.jsonl"))
    if not files:
        raise UsageError(
            f"there is no ledger at {path}.",
            "Name a ledger file, the folder of a run with a guarantee, or the plan's simulation.ledgers.",
        )
    return files


def _last(charges: list[Charge]) -> str:
    return f", the last for {charges[-1].key}" if charges else ""
